// Mailload puts load on a mail server, of whatever make, and prints what it gets done.
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/yubin-mail/yubin/tests/bench/load"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout)
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "mailload:", err)
		stop()
		os.Exit(1)
	}
}

// settings are what the flags say.
type settings struct {
	target   load.Target
	chosen   *regexp.Regexp
	limit    load.Limit
	list     int
	fill     int
	fillTo   string
	insecure bool
}

func parse(args []string) (*settings, error) {
	s := &settings{}
	fs := flag.NewFlagSet("mailload", flag.ContinueOnError)
	fs.StringVar(&s.target.SMTP, "smtp", "", "host:port of SMTP; empty: it is not loaded, as with the other protocols")
	fs.StringVar(&s.target.LMTP, "lmtp", "", "host:port of LMTP")
	fs.StringVar(&s.target.IMAP, "imap", "", "host:port of IMAP")
	fs.StringVar(&s.target.POP3, "pop3", "", "host:port of POP3")
	mode := fs.String("tls", string(load.Implicit), "TLS of IMAP and POP3: none, implicit or starttls")
	fs.BoolVar(&s.insecure, "insecure", false, "take any certificate")
	recipients := fs.String("recipients", "", "addresses that take the deliveries in turn, with commas between them")
	fs.StringVar(&s.target.Reader.Name, "user", "", "account whose INBOX is read, listed and flagged; its password is taken from MAILLOAD_PASSWORD")
	workloads := fs.String("workloads", "", "regular expression of the workloads; empty: all that the addresses allow")
	fs.DurationVar(&s.limit.For, "for", 10*time.Second, "how long each workload runs")
	fs.IntVar(&s.list, "list", 1000, "messages that the list view shows")
	fs.IntVar(&s.fill, "fill", 0, "deliver so many messages of 4 KB over LMTP, or else SMTP, before")
	fs.StringVar(&s.fillTo, "fill-to", "", "address of the account that is read, for -fill; empty: the same as -user")
	if err := fs.Parse(args); err != nil {
		return nil, err
	}
	var err error
	if s.chosen, err = regexp.Compile(*workloads); err != nil {
		return nil, fmt.Errorf("read -workloads: %w", err)
	}
	s.target.TLS = load.TLSMode(*mode)
	switch s.target.TLS {
	case load.Plain, load.Implicit, load.StartTLS:
	default:
		return nil, fmt.Errorf("-tls cannot be %q", *mode)
	}
	s.target.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: s.insecure}
	s.target.Recipients = strings.FieldsFunc(*recipients, func(r rune) bool { return r == ',' })
	s.target.Reader.Password = os.Getenv("MAILLOAD_PASSWORD")
	if s.fillTo == "" {
		s.fillTo = s.target.Reader.Name
	}
	return s, s.check(fs.NArg())
}

func (s *settings) check(rest int) error {
	t := s.target
	switch {
	case rest > 0:
		return fmt.Errorf("%d arguments that are no flags", rest)
	case t.SMTP+t.LMTP+t.IMAP+t.POP3 == "":
		return fmt.Errorf("no address is given")
	case t.SMTP+t.LMTP != "" && len(t.Recipients) == 0 && s.fill == 0:
		return fmt.Errorf("deliveries want -recipients")
	case t.IMAP+t.POP3 != "" && (t.Reader.Name == "" || t.Reader.Password == ""):
		return fmt.Errorf("reading wants -user and MAILLOAD_PASSWORD")
	case s.fill > 0 && t.SMTP+t.LMTP == "":
		return fmt.Errorf("-fill wants -smtp or -lmtp")
	case s.limit.For <= 0:
		return fmt.Errorf("-for must be above 0")
	}
	return nil
}

// possible tells whether the target has what a workload needs.
func (s *settings) possible(w load.Workload) bool {
	protocol, _, _ := strings.Cut(w.Name, " ")
	deliver := len(s.target.Recipients) > 0
	switch protocol {
	case load.SMTP:
		return deliver && s.target.SMTP != ""
	case load.LMTP:
		return deliver && s.target.LMTP != ""
	case "imap":
		return s.target.IMAP != ""
	case "pop3":
		return s.target.POP3 != ""
	}
	return false
}

func run(ctx context.Context, args []string, out io.Writer) error {
	s, err := parse(args)
	if err != nil {
		return err
	}
	if s.fill > 0 {
		protocol := load.LMTP
		if s.target.LMTP == "" {
			protocol = load.SMTP
		}
		if err := s.target.Fill(ctx, protocol, s.fillTo, s.fill, 4<<10); err != nil {
			return fmt.Errorf("fill the mailbox: %w", err)
		}
	}
	ran := false
	for _, w := range load.Workloads(s.list) {
		if !s.possible(w) || !s.chosen.MatchString(w.Name) {
			continue
		}
		ran = true
		result, err := w.Run(ctx, &s.target, s.limit)
		if err != nil {
			return fmt.Errorf("%s: %w", w.Name, err)
		}
		fmt.Fprintf(out, "%-22s %10.1f %s/s  %10.2f MB/s\n", w.Name, result.Rate(), w.Unit, float64(result.Bytes)/1e6/result.Elapsed.Seconds())
	}
	if !ran {
		return fmt.Errorf("no workload matches that these addresses allow")
	}
	return nil
}
