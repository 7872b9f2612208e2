package session

import "context"

// capaUidl is RFC 2449 section 6.8.
func (s *Session) capaUidl() string { return "UIDL" }

// cmdStat is RFC 1939 section 5.
func (s *Session) cmdStat(context.Context, []string) error {
	s.ok("%d %d", s.drop.count, s.drop.octets)
	return nil
}

// cmdList is RFC 1939 section 5.
func (s *Session) cmdList(_ context.Context, args []string) error {
	return s.list(args, func(n int, m *message) (string, []any) { return "%d %d", []any{n, m.size} })
}

// cmdUidl is RFC 1939 section 7. UIDVALIDITY makes the id unique also after a mailbox was made anew.
func (s *Session) cmdUidl(_ context.Context, args []string) error {
	return s.list(args, func(n int, m *message) (string, []any) { return "%d %d.%d", []any{n, s.drop.uidValidity, m.uid} })
}

// list answers with the line of one message, or with those of all that are not deleted.
func (s *Session) list(args []string, show func(n int, m *message) (string, []any)) error {
	if len(args) == 1 {
		n, m, err := s.drop.at(args[0])
		if err != nil {
			return err
		}
		format, values := show(n, m)
		s.ok(format, values...)
		return nil
	}
	s.say(textListing, s.drop.count, s.drop.octets)
	for i := range s.drop.messages {
		m := &s.drop.messages[i]
		if m.deleted {
			continue
		}
		format, values := show(i+1, m)
		if err := s.line(format, values...); err != nil {
			return err
		}
	}
	return s.end()
}

// cmdDele is RFC 1939 section 5: the message is marked, QUIT deletes it.
func (s *Session) cmdDele(_ context.Context, args []string) error {
	n, m, err := s.drop.at(args[0])
	if err != nil {
		return err
	}
	m.deleted = true
	s.drop.count--
	s.drop.octets -= m.size
	s.say(textDeleted, n)
	return nil
}

// cmdRset is RFC 1939 section 5.
func (s *Session) cmdRset(context.Context, []string) error {
	for i := range s.drop.messages {
		if m := &s.drop.messages[i]; m.deleted {
			m.deleted = false
			s.drop.count++
			s.drop.octets += m.size
		}
	}
	s.say(textMaildrop, s.drop.count, s.drop.octets)
	return nil
}

// cmdNoop is RFC 1939 section 5.
func (s *Session) cmdNoop(context.Context, []string) error {
	s.say(textNoop)
	return nil
}
