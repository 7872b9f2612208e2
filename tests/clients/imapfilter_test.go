package clients

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/yubin-mail/yubin/tests/harness"
)

// filters sort a mailbox, then wait in IDLE for mail and sort that.
const filters = `
options.timeout = 60
options.create = true
options.subscribe = true
options.expunge = true
account = IMAP { server = 'localhost', port = %s, username = '%s', password = '%s', ssl = 'auto' }
function sort()
  news = account.INBOX:contain_subject('[news]') + account.INBOX:contain_field('List-Id', 'news.example.test')
  news:mark_seen()
  news:move_messages(account['Lists/News'])
  important = account.INBOX:is_unseen() * account.INBOX:match_body('(?i)in.oice')
  important:mark_flagged()
  important:add_flags({'ToPay'})
  important:copy_messages(account['Bills & More'])
  large = account.INBOX:is_larger(20000) * account.INBOX:is_newer(2)
  large:delete_messages()
  print('sorted ' .. #news .. ' ' .. #important .. ' ' .. #large)
end
sort()
print(account.INBOX:enter_idle())
sort()
for _, message in ipairs(account['Lists/News']:select_all()) do
  mailbox, uid = table.unpack(message)
  print('news ' .. mailbox[uid]:fetch_field('subject') .. ' ' .. mailbox[uid]:fetch_size())
end
`

// TestIMAPFilter sorts mail by rules, as people do whose server has none.
func TestIMAPFilter(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, harness.Options{Accounts: []string{"alice"}})
	s.Deliver(t, "alice", letter("1", "[news] First", "much"))
	s.Deliver(t, "alice", letter("2", "Hello", "Your INVOICE is here"))
	s.Deliver(t, "alice", letter("3", "Photos", strings.Repeat("0123456789\n", 3000)))
	s.Deliver(t, "alice", letter("4", "Other", "keep me"))
	d := newDevice(t)
	config := d.write("config.lua", fmt.Sprintf(filters, port(t, s.IMAPS[0]), harness.Address("alice"), harness.Password))
	f := d.onTerminal("imapfilter -v -t " + s.CertFile() + " -c " + config)
	f.see("sorted 1 1 1")
	f.see(" IDLE")
	s.Deliver(t, "alice", letter("5", "[news] Second", "more"))
	f.see("sorted 1 ")
	f.see("news Subject: [news] First")
	f.see("news Subject: [news] Second")
	f.end()

	phone := s.IMAPClient(t, 0, "alice", nil)
	for mailbox, want := range map[string]int{"INBOX": 2, "Lists/News": 2, "Bills & More": 2} {
		require.Len(t, text(t, phone, mailbox), want, mailbox)
	}
	_, err := phone.Select("INBOX", nil).Wait()
	require.NoError(t, err)
	require.Len(t, uidsOf(t, phone, "Hello"), 1)
	require.Subset(t, names(t, phone, "", "*", nil), []string{"Lists/News", "Bills & More"})
}
