package session

import (
	"cmp"
	"context"
	"slices"
)

// THREAD and UID THREAD: RFC 5256.
func init() {
	register(extension{
		capabilities: []capability{{name: "THREAD=ORDEREDSUBJECT", when: whenLoggedIn}},
		commands: []command{
			{name: "THREAD", states: selectedState, numbered: true, run: func(ctx context.Context, s *session) (reply, error) { return runThread(ctx, s, false) }},
			{name: "UID THREAD", states: selectedState, run: func(ctx context.Context, s *session) (reply, error) { return runThread(ctx, s, true) }},
		},
	})
}

func runThread(ctx context.Context, s *session, uid bool) (reply, error) {
	args, err := s.dec.ThreadArgs()
	if err != nil {
		return reply{}, err
	}
	if args.Algorithm != "ORDEREDSUBJECT" {
		return reply{}, bad("unknown threading algorithm")
	}
	uids, err := s.search(ctx, args.Key)
	if err != nil {
		return reply{}, err
	}
	list, err := s.learn(ctx, uids, factSubject|factDate)
	if err != nil {
		return reply{}, err
	}
	s.enc.Star().Raw("THREAD")
	for i, thread := range orderedSubject(list) {
		if i == 0 {
			s.enc.SP()
		}
		s.sendThread(thread, uid)
	}
	s.enc.CRLF()
	return reply{}, nil
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
