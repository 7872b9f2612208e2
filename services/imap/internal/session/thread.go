package session

import (
	"cmp"
	"context"
	"slices"

	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
)

// THREAD and UID THREAD: RFC 5256.
func init() {
	register(extension{
		capabilities: []capability{{name: "THREAD=ORDEREDSUBJECT", when: whenLoggedIn}, {name: "THREAD=REFERENCES", when: whenLoggedIn}},
		commands: []command{
			{name: "THREAD", states: selectedState, numbered: true, read: func(s *session) (job, error) { return readThread(s, false) }},
			{name: "UID THREAD", states: selectedState, read: func(s *session) (job, error) { return readThread(s, true) }},
		},
	})
}

func readThread(s *session, uid bool) (job, error) {
	args, err := s.dec.ThreadArgs()
	if err != nil {
		return job{}, err
	}
	algorithm, ok := threadAlgorithms[args.Algorithm]
	if !ok {
		return job{}, bad("unknown threading algorithm")
	}
	return s.searching(args.Key, nil, claim{answers: answersThread}, func(ctx context.Context, s *session) (reply, error) {
		uids, err := s.search(ctx, args.Key)
		if err != nil {
			return reply{}, err
		}
		return reply{}, algorithm(ctx, s, uids, uid)
	}), nil
}

// threadAlgorithms send the answer for messages that were found.
var threadAlgorithms = map[string]func(ctx context.Context, s *session, uids []*storagev1.UidRange, uid bool) error{
	"ORDEREDSUBJECT": threadBySubject,
	"REFERENCES":     threadByReferences,
}

func threadBySubject(ctx context.Context, s *session, uids []*storagev1.UidRange, uid bool) error {
	list, err := s.learn(ctx, uids, factSubject|factDate, nil)
	if err != nil {
		return err
	}
	sendThreads(s, orderedSubject(list), func(thread []*sortable) { s.sendThread(thread, uid) })
	return nil
}

func threadByReferences(ctx context.Context, s *session, uids []*storagev1.UidRange, uid bool) error {
	t := newThreader()
	list, err := s.learn(ctx, uids, factSubject|factDate|factReferences, t.learned)
	if err != nil {
		return err
	}
	for _, m := range list {
		if !m.threaded { // it is gone meanwhile
			t.add(m, "", nil, false)
		}
	}
	threads, err := t.threads()
	if err != nil {
		return err
	}
	sendThreads(s, threads, func(thread *container) { s.sendContainer(thread, uid) })
	return nil
}

func sendThreads[T any](s *session, threads []T, send func(T)) {
	s.enc.Star().Raw("THREAD")
	for i, thread := range threads {
		if i == 0 {
			s.enc.SP()
		}
		send(thread)
	}
	s.enc.CRLF()
}

// orderedSubject puts together what has the same base subject, in order of the sent date; the threads are in order of their first
// messages (RFC 5256 section 3, ORDEREDSUBJECT).
func orderedSubject(list []*sortable) [][]*sortable {
	subject := factSubject.index()
	slices.SortStableFunc(list, func(a, b *sortable) int {
		return cmp.Or(cmp.Compare(a.value(subject), b.value(subject)), cmp.Compare(a.sent, b.sent))
	})
	var threads [][]*sortable
	for len(list) > 0 {
		n := 1
		for n < len(list) && list[n].value(subject) == list[0].value(subject) {
			n++
		}
		threads = append(threads, list[:n])
		list = list[n:]
	}
	slices.SortStableFunc(threads, func(a, b []*sortable) int {
		return cmp.Or(cmp.Compare(a[0].sent, b[0].sent), cmp.Compare(a[0].index, b[0].index))
	})
	return threads
}

// sendThread sends a thread of which all but the first message are answers to it.
func (s *session) sendThread(thread []*sortable, uid bool) {
	s.enc.Open().Num(uint64(thread[0].number(uid)))
	for i, m := range thread[1:] {
		if i == 0 {
			s.enc.SP()
		}
		if len(thread) == 2 {
			s.enc.Num(uint64(m.number(uid)))
			continue
		}
		s.enc.Open().Num(uint64(m.number(uid))).Close()
	}
	s.enc.Close()
}
