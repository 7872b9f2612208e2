// Makes the calls of an ImapFlow client that come on standard input, one a line: a JSON array of the method and its arguments. Each is answered by a
// line of JSON; what the server tells by itself is a line with "event". The options of the client are the first argument.
const readline = require('readline');
globalThis.crypto ??= require('crypto').webcrypto; // which Node.js 18 does not have there
const { ImapFlow } = require('imapflow');

const plain = (key, value) => {
  if (value instanceof Map) return Object.fromEntries(value);
  if (value instanceof Set) return [...value];
  if (typeof value === 'bigint') return value.toString();
  if (value && value.type === 'Buffer' && Array.isArray(value.data)) return Buffer.from(value.data).toString();
  return value;
};
const tell = (message) => process.stdout.write(JSON.stringify(message, plain) + '\n');

const said = [];
const client = new ImapFlow({ ...JSON.parse(process.argv[2]), emitLogs: true, logger: false });
client.on('log', (entry) => entry.src === 'c' && said.push(entry.msg));
for (const event of ['exists', 'expunge', 'flags']) client.on(event, (data) => tell({ event, data }));
client.on('error', (err) => tell({ error: String(err) }));

// What is no plain call of a method.
const special = {
  said: async () => said.splice(0),
  state: async () => ({ capabilities: client.capabilities, enabled: client.enabled, mailbox: client.mailbox, id: client.serverInfo, namespace: client.namespace }),
  download: async (...args) => {
    const { meta, content } = await client.download(...args);
    const chunks = [];
    for await (const chunk of content) chunks.push(chunk);
    return { meta, content: Buffer.concat(chunks) };
  },
};

(async () => {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const [method, ...args] = JSON.parse(line);
    if (method === 'idle') {
      client.idle().catch((err) => tell({ error: String(err) }));
      tell({ result: null });
      continue;
    }
    try {
      const result = await (special[method] || client[method].bind(client))(...args);
      tell({ result: result === undefined ? null : result });
    } catch (err) {
      tell({ error: `${err} ${err.response || ''} ${err.serverResponseCode || ''}`.trim() });
    }
  }
})();
