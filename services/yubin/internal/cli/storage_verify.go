package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/yubin-mail/yubin/pkg/config"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
)

// findingView is a line of JSON of verify and scrub.
type findingView struct {
	Kind      string `json:"kind"`
	Trouble   bool   `json:"trouble"`
	Object    string `json:"object"`
	AccountID string `json:"account_id,omitempty"`
	EmailID   string `json:"email_id,omitempty"`
	Bodies    int64  `json:"bodies"`
	Bytes     int64  `json:"bytes"`
	Made      string `json:"made,omitempty"`
	Detail    string `json:"detail"`
}

// summaryView is the last line of JSON.
type summaryView struct {
	Packs        int64 `json:"packs"`
	Bodies       int64 `json:"bodies"`
	FrameBytes   int64 `json:"frame_bytes"`
	LiveBytes    int64 `json:"live_bytes"`
	Objects      int64 `json:"objects"`
	ObjectBytes  int64 `json:"object_bytes"`
	Waiting      int64 `json:"waiting"`
	WaitingBytes int64 `json:"waiting_bytes"`
	Orphans      int64 `json:"orphans"`
	OrphanBytes  int64 `json:"orphan_bytes"`
	Foreign      int64 `json:"foreign"`
	FramesRead   int64 `json:"frames_read"`
	Troubles     int64 `json:"troubles"`
}

// auditLine is a line of JSON: one of both.
type auditLine struct {
	Finding *findingView `json:"finding,omitempty"`
	Summary *summaryView `json:"summary,omitempty"`
}

// auditResponse is an answer of verify or scrub.
type auditResponse interface {
	GetFindings() []*storagev1.StorageFinding
	GetProgress() *storagev1.StorageProgress
	GetSummary() *storagev1.StorageSummary
}

// audit prints what a run finds as it comes, and gives its summary.
func audit[R auditResponse](a *app, verb, unit string, recv func() (R, error)) (*storagev1.StorageSummary, error) {
	var summary *storagev1.StorageSummary
	bar := a.newCounter(verb, unit)
	defer bar.clear()
	for {
		r, err := recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		for _, f := range r.GetFindings() {
			bar.clear()
			if err := a.printFinding(f); err != nil {
				return nil, err
			}
		}
		if p := r.GetProgress(); p != nil {
			bar.show(p.GetDone(), p.GetTotal(), p.GetDoneBytes(), p.GetTotalBytes())
		}
		if r.GetSummary() != nil {
			summary = r.GetSummary()
		}
	}
	if summary == nil {
		return nil, errors.New("the service ended without a summary")
	}
	return summary, nil
}

func (a *app) printFinding(f *storagev1.StorageFinding) error {
	kind := strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(f.GetKind().String(), "KIND_")), "_", " ")
	if a.json {
		return a.printJSON(auditLine{Finding: &findingView{
			Kind: kind, Trouble: f.GetTrouble(), Object: f.GetObjectKey(), AccountID: f.GetAccountId(), EmailID: f.GetEmailId(),
			Bodies: f.GetContents(), Bytes: f.GetOctets(), Made: timestamp(f.GetMadeUnix()), Detail: f.GetDetail(),
		}})
	}
	text := fmt.Sprintf("%s: %s (%s, made %s): %s", kind, f.GetObjectKey(), humanBytes(f.GetOctets()), humanTime(f.GetMadeUnix()), f.GetDetail())
	if f.GetContents() > 0 {
		text += fmt.Sprintf("; %d bodies concerned, one of account %s with EMAILID %s", f.GetContents(), f.GetAccountId(), f.GetEmailId())
	}
	return a.done(nil, "%s", text)
}

// judge prints the summary, and fails if there was trouble.
func (a *app) judge(s *storagev1.StorageSummary, pairs ...[2]string) error {
	if a.json {
		err := a.printJSON(auditLine{Summary: &summaryView{
			Packs: s.GetPacks(), Bodies: s.GetContents(), FrameBytes: s.GetFrameBytes(), LiveBytes: s.GetLiveBytes(), Objects: s.GetObjects(),
			ObjectBytes: s.GetObjectBytes(), Waiting: s.GetWaiting(), WaitingBytes: s.GetWaitingBytes(), Orphans: s.GetOrphans(),
			OrphanBytes: s.GetOrphanBytes(), Foreign: s.GetForeign(), FramesRead: s.GetFrames(), Troubles: s.GetTroubles(),
		}})
		if err != nil {
			return err
		}
	} else if err := a.details(nil, append(pairs, [2]string{"Troubles", strconv.FormatInt(s.GetTroubles(), 10)})...); err != nil {
		return err
	}
	if s.GetTroubles() > 0 {
		return &hintError{
			err:  fmt.Errorf("storage is not in order: %d troubles", s.GetTroubles()),
			hint: `Copy what is missing or damaged back from a backup. "yubin storage repair" finds the messages without a body.`,
		}
	}
	return nil
}

func counted(n, bytes int64) string { return fmt.Sprintf("%d (%s)", n, humanBytes(bytes)) }

func newStorageVerify(a *app) *cobra.Command {
	var account string
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Compare the database with the object store",
		Long: `Compare the database with the object store, both ways: that every body lies within an object that is there, that every object is
known, and that the counters add up. It reads no bodies (see "yubin storage scrub") and may run while mail comes and goes.
An orphan, an object that a crash has left, is no trouble: it is deleted when it is a day old. A foreign object is older than the
database and kept: was the database lost? The exit status is 1 if there is trouble.`,
		Example: `  yubin storage verify
  yubin storage verify --account alice@example.com --json`,
		Args: positional(0, 0),
		RunE: a.remote(func(ctx context.Context, c *clients, _ []string) error {
			req := &storagev1.VerifyStorageRequest{}
			unit := "objects"
			if account != "" {
				acc, err := c.account(ctx, account)
				if err != nil {
					return err
				}
				req.AccountId, unit = acc.GetAccountId(), "bodies"
			}
			stream, err := c.storageAdmin.VerifyStorage(ctx, req)
			if err != nil {
				return err
			}
			s, err := audit(a, "Verified", unit, stream.Recv)
			if err != nil {
				return err
			}
			bodies := [2]string{"Bodies", counted(s.GetContents(), s.GetLiveBytes())}
			if account != "" {
				return a.judge(s, bodies)
			}
			return a.judge(s, bodies,
				[2]string{"Packs in the database", counted(s.GetPacks(), s.GetFrameBytes())},
				[2]string{"Objects", counted(s.GetObjects(), s.GetObjectBytes())},
				[2]string{"Held per live octet", ratio(s.GetObjectBytes(), s.GetLiveBytes())},
				[2]string{"Being written, or to be deleted", counted(s.GetWaiting(), s.GetWaitingBytes())},
				[2]string{"Orphans", counted(s.GetOrphans(), s.GetOrphanBytes())},
				[2]string{"Foreign objects", strconv.FormatInt(s.GetForeign(), 10)})
		}),
	}
	cmd.Flags().StringVar(&account, "account", "", "only the bodies of this address's account")
	_ = cmd.RegisterFlagCompletionFunc("account", a.completeAccounts(-1))
	return cmd
}

func ratio(held, live int64) string {
	if live == 0 {
		return "-"
	}
	return strconv.FormatFloat(float64(held)/float64(live), 'f', 2, 64)
}

func newStorageScrub(a *app) *cobra.Command {
	var rate config.Size
	var restart bool
	cmd := &cobra.Command{
		Use:   "scrub",
		Short: "Read every body and verify its checksum",
		Long: `Read every body that messages refer to, and the index of every object, and verify the checksums. It changes nothing. If it is
interrupted, the next scrub goes on where it was. The exit status is 1 if there is trouble.`,
		Example: `  yubin storage scrub --rate 20MB
  yubin storage scrub --restart --json`,
		Args: positional(0, 0),
		RunE: a.remote(func(ctx context.Context, c *clients, _ []string) error {
			stream, err := c.storageAdmin.ScrubStorage(ctx, &storagev1.ScrubStorageRequest{BytesPerSecond: int64(rate), Restart: restart})
			if err != nil {
				return err
			}
			s, err := audit(a, "Read", "objects", stream.Recv)
			if err != nil {
				return &hintError{err: err, hint: "The next scrub goes on where this one was."}
			}
			return a.judge(s,
				[2]string{"Bodies read", strconv.FormatInt(s.GetFrames(), 10)},
				[2]string{"Objects", counted(s.GetObjects(), s.GetObjectBytes())})
		}),
	}
	config.SizeVar(cmd.Flags(), &rate, "rate", 0, "most octets to read a second; 0 for as fast as it goes")
	cmd.Flags().BoolVar(&restart, "restart", false, "begin anew, not where the last scrub was interrupted")
	return cmd
}
