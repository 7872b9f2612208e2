package session

import (
	"context"
	"slices"
	"strings"

	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/imap/internal/wire"
)

// state of a session (RFC 9051 section 3), as a bit.
type state uint8

const (
	notAuthenticated state = 1 << iota
	authenticated
	selectedState

	anyState = notAuthenticated | authenticated | selectedState
	loggedIn = authenticated | selectedState
)

func (s state) String() string {
	switch s {
	case notAuthenticated:
		return "not_authenticated"
	case authenticated:
		return "authenticated"
	case selectedState:
		return "selected"
	}
	return "none"
}

// command is one command of the table.
type command struct {
	name   string // upper case, "UID FETCH" for the UID variants
	states state
	// run parses the arguments, acts, and sends the untagged responses. What it returns becomes the tagged one.
	run func(ctx context.Context, s *session) (reply, error)
	// read is set instead of run of a command that may run beside others. It parses the arguments, and changes nothing.
	read func(s *session) (job, error)
	// numbered commands take sequence numbers: no EXPUNGE may be sent before their tagged response (RFC 9051 section 7.5.1).
	numbered bool
	// stream commands take as long as the client sends: they have a time limit for each read only.
	stream bool
	// endless commands last as long as the client likes: nobody is told how long they took, and they have no trace.
	endless bool
}

// reply is a tagged OK; the zero value says "<command> completed".
type reply struct {
	code string // response code without brackets
	text string
	// keeps: VANISHED may not come with it (RFC 7162 section 3.2.10.2), though EXPUNGE might.
	keeps bool
}

// capability is announced while when is true; nil: always.
type capability struct {
	name  string
	when  func(s *session) bool
	value func(s *session) string // goes behind the name and "="; nil: none
}

// enable is what ENABLE (RFC 5161) can switch on. run is called after the ENABLED response.
type enable struct {
	name string
	run  func(s *session)
}

// searchKey is a key of SEARCH beyond those of RFC 9051.
type searchKey struct {
	name     string
	criteria func(s *session, arg any) *storagev1.SearchCriteria
}

// extension is what one file adds to the engine.
type extension struct {
	capabilities []capability
	commands     []command
	fetchItems   []fetchItem
	statusItems  []statusItem
	searchKeys   []searchKey
	enables      []enable
	// grammar adds to the parser; may be nil.
	grammar func(g *wire.Grammar)
}

// table is everything that was registered.
type table struct {
	capabilities []capability
	commands     map[string]*command
	fetchItems   map[string]*fetchItem
	statusItems  map[string]*statusItem
	searchKeys   map[string]*searchKey
	enables      map[string]*enable
	grammars     []func(g *wire.Grammar)
}

// registered is filled by the init functions of this package's files, and only read afterwards.
var registered = table{
	commands:    map[string]*command{},
	fetchItems:  map[string]*fetchItem{},
	statusItems: map[string]*statusItem{},
	searchKeys:  map[string]*searchKey{},
	enables:     map[string]*enable{},
}

func register(e extension) {
	registered.capabilities = append(registered.capabilities, e.capabilities...)
	for _, c := range e.commands {
		add(registered.commands, c.name, &c)
	}
	for _, f := range e.fetchItems {
		add(registered.fetchItems, f.name, &f)
	}
	for _, i := range e.statusItems {
		add(registered.statusItems, i.name, &i)
	}
	for _, k := range e.searchKeys {
		add(registered.searchKeys, k.name, &k)
	}
	for _, n := range e.enables {
		add(registered.enables, strings.ToUpper(n.name), &n)
	}
	if e.grammar != nil {
		registered.grammars = append(registered.grammars, e.grammar)
	}
}

func add[T any](m map[string]T, name string, value T) {
	if _, ok := m[name]; ok {
		panic("session: registered twice: " + name)
	}
	m[name] = value
}

func newGrammar() *wire.Grammar {
	g := wire.NewGrammar()
	for _, extend := range registered.grammars {
		extend(g)
	}
	return g
}

// capabilityList is what CAPABILITY answers now, the protocol versions first.
func (s *session) capabilityList() string {
	names := []string{"IMAP4rev2", "IMAP4rev1"}
	fixed := len(names)
	for _, c := range registered.capabilities {
		if c.when == nil || c.when(s) {
			name := c.name
			if c.value != nil {
				name += "=" + c.value(s)
			}
			names = append(names, name)
		}
	}
	slices.Sort(names[fixed:])
	return strings.Join(names, " ")
}

// whenLoggedIn announces what is of no use before login.
func whenLoggedIn(s *session) bool { return s.state&loggedIn != 0 }
