package session

import "context"

// job is a command that only reads, with its arguments.
type job struct {
	// alone: with these arguments it changes something, and nothing may run beside it.
	alone bool
	// quick: it waits for nobody, and needs no goroutine.
	quick bool
	// prepare is called before run, perhaps more than once, by the goroutine that reads commands, and gives the claim. It may tell of
	// changes, and do more if the job is alone. nil: nothing is to do.
	prepare func(s *session) (claim, error)
	claim   claim // without prepare
	// change is what run begins with that is not only to read: it sets flags, if the claim says so. The goroutine that reads commands calls
	// it, also while lanes run that do not look at flags. nil: nothing.
	change func(ctx context.Context, s *session) error
	// run sends the untagged responses. s is the session, or that of a lane.
	run func(ctx context.Context, s *session) (reply, error)
}

// answers are kinds of responses that do not say which command they answer. Clients take them to be of the first that waits for one.
type answers uint16

const (
	answersSearch answers = 1 << iota
	answersSort
	answersThread
	answersList
	answersLsub
	answersStatus // of any mailbox
	answersQuota
	answersMetadata
	answersRights
)

// claim is what a command's responses are about. Commands with the same answers run one after the other, as a client could not tell
// whose they are.
type claim struct {
	answers answers
	// status is the mailbox of a STATUS.
	status string
	// messages are those of a FETCH.
	messages []span
	// looks: it depends on flags, or shows them. changes: it sets flags before it runs.
	looks, changes bool
}

// meets tells whether two commands must run one after the other.
func (c claim) meets(o claim) bool {
	switch {
	case c.answers&o.answers != 0,
		c.status != "" && (o.status == c.status || o.answers&answersStatus != 0), o.status != "" && c.answers&answersStatus != 0,
		c.changes && o.looks, c.looks && o.changes: // RFC 9051 section 5.5: FETCH BODY[] and SEARCH UNSEEN
		return true
	}
	return overlap(c.messages, o.messages)
}

// overlap tells whether ascending spans have messages in common.
func overlap(a, b []span) bool {
	for len(a) > 0 && len(b) > 0 {
		switch {
		case a[0].to <= b[0].from:
			a = a[1:]
		case b[0].to <= a[0].from:
			b = b[1:]
		default:
			return true
		}
	}
	return false
}
