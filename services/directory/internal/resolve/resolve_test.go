package resolve

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/yubin-mail/yubin/pkg/address"
	"github.com/yubin-mail/yubin/services/directory/internal/store"
)

// source is a directory in memory, by addresses' texts.
type source struct {
	domains  map[string]store.Domain
	accounts map[string]store.Account
	aliases  map[string][]string
}

func (s source) Domain(_ context.Context, name string) (store.Domain, error) {
	d, ok := s.domains[name]
	if !ok {
		return d, store.ErrNotFound
	}
	return d, nil
}

func (s source) Account(_ context.Context, a address.Address) (store.Account, error) {
	account, ok := s.accounts[a.String()]
	if !ok {
		return account, store.ErrNotFound
	}
	account.ID, account.Address = a.String(), a
	account.DomainDisabled = s.domains[a.Domain].Disabled
	return account, nil
}

func (s source) Alias(_ context.Context, a address.Address) (store.Alias, error) {
	targets, ok := s.aliases[a.String()]
	if !ok {
		return store.Alias{}, store.ErrNotFound
	}
	return store.Alias{Address: a, Targets: addresses(targets...)}, nil
}

func addresses(texts ...string) (out []address.Address) {
	for _, text := range texts {
		a, err := address.Parse(text)
		if err != nil {
			panic(err)
		}
		out = append(out, a)
	}
	return out
}

var village = source{
	domains: map[string]store.Domain{
		"a.test":     {Name: "a.test"},
		"plain.test": {Name: "plain.test", NoSubaddress: true},
		"catch.test": {Name: "catch.test", CatchAll: addresses("alice@a.test", "team@a.test")},
		"gone.test":  {Name: "gone.test", Disabled: true, CatchAll: addresses("alice@a.test")},
	},
	accounts: map[string]store.Account{
		"alice@a.test": {}, "bob@a.test": {}, "exact+tag@a.test": {}, "exact@a.test": {}, "off@a.test": {Disabled: true}, "alice@plain.test": {},
		"carol@catch.test": {}, "dave@gone.test": {}, "root@a.test": {},
	},
	aliases: map[string][]string{
		"team@a.test":       {"alice@a.test", "bob@a.test", "alice@a.test", "off@a.test"},
		"nested@a.test":     {"team@a.test", "carol@catch.test"},
		"loop1@a.test":      {"loop2@a.test", "bob@a.test"},
		"loop2@a.test":      {"loop1@a.test"},
		"self@a.test":       {"self@a.test"},
		"off-only@a.test":   {"off@a.test"},
		"off-domain@a.test": {"dave@gone.test"},
		"nowhere@a.test":    {"nobody@a.test", "x@foreign.test"},
		"tagged@a.test":     {"bob+own@a.test"},
		"caught@a.test":     {"nobody@catch.test"},
	},
}

func TestTo(t *testing.T) {
	for _, tt := range []struct{ address, want string }{
		{"alice@a.test", "alice@a.test"},
		{"Alice@A.Test", "alice@a.test"},
		{"alice+books@a.test", "alice@a.test[books]"},
		{"exact+tag@a.test", "exact+tag@a.test"},
		{"exact+other@a.test", "exact@a.test[other]"},
		{"alice+x@plain.test", "unknown"},
		{"nobody@a.test", "unknown"},
		{"nobody+x@a.test", "unknown"},
		{"x@foreign.test", "foreign"},
		{"team@a.test", "alice@a.test bob@a.test"},
		{"team+x@a.test", "alice@a.test[x] bob@a.test[x]"},
		{"nested@a.test", "alice@a.test bob@a.test carol@catch.test"},
		{"loop1@a.test", "bob@a.test"},
		{"loop2@a.test", "bob@a.test"},
		{"self@a.test", "unknown"},
		{"off@a.test", "disabled"},
		{"off-only@a.test", "disabled"},
		{"off-domain@a.test", "disabled"},
		{"nowhere@a.test", "unknown"},
		{"tagged@a.test", "bob@a.test[own]"},
		{"tagged+outer@a.test", "bob@a.test[own]"},
		{"carol@catch.test", "carol@catch.test"},
		{"nobody@catch.test", "alice@a.test bob@a.test"},
		{"caught@a.test", "alice@a.test bob@a.test"},
		{"dave@gone.test", "disabled"},
		{"nobody@gone.test", "disabled"},
		{"postmaster@a.test", "unknown"},
		{"postmaster@catch.test", "alice@a.test bob@a.test"},
	} {
		if got := show(t, village, tt.address, Options{}); got != tt.want {
			t.Errorf("%s leads to %s, want %s", tt.address, got, tt.want)
		}
	}
}

func TestOptions(t *testing.T) {
	postmaster := Options{Postmaster: addresses("root@a.test")[0]}
	for _, tt := range []struct {
		address string
		options Options
		want    string
	}{
		{"postmaster@a.test", postmaster, "root@a.test"},
		{"postmaster@catch.test", postmaster, "root@a.test"},
		{"other@a.test", postmaster, "unknown"},
		{"postmaster@a.test", Options{Postmaster: addresses("postmaster@a.test")[0]}, "unknown"},
		{"nobody@catch.test", Options{NoCatchAll: true}, "unknown"},
		{"carol+x@catch.test", Options{NoCatchAll: true}, "carol@catch.test[x]"},
	} {
		if got := show(t, village, tt.address, tt.options); got != tt.want {
			t.Errorf("%s leads to %s, want %s", tt.address, got, tt.want)
		}
	}
}

func show(t *testing.T, src source, text string, o Options) string {
	t.Helper()
	result, err := To(t.Context(), src, addresses(text)[0], o)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	switch {
	case len(result.Recipients) > 0:
		var out []string
		for _, r := range result.Recipients {
			s := r.Account.Address.String()
			if r.Detail != "" {
				s += "[" + r.Detail + "]"
			}
			out = append(out, s)
		}
		slices.Sort(out)
		return strings.Join(out, " ")
	case result.Foreign:
		return "foreign"
	case result.Disabled:
		return "disabled"
	}
	return "unknown"
}

func TestLimits(t *testing.T) {
	src := source{
		domains:  map[string]store.Domain{"a.test": {}},
		accounts: map[string]store.Account{"end@a.test": {}},
		aliases:  map[string][]string{"d0@a.test": {"end@a.test"}},
	}
	for i := 1; i <= MaxDepth; i++ {
		src.aliases[fmt.Sprintf("d%d@a.test", i)] = []string{fmt.Sprintf("d%d@a.test", i-1)}
	}
	for i := range MaxRecipients + 1 {
		src.accounts[fmt.Sprintf("u%d@a.test", i)] = store.Account{}
		src.aliases["many@a.test"] = append(src.aliases["many@a.test"], fmt.Sprintf("u%d@a.test", i))
	}
	src.aliases["enough@a.test"] = src.aliases["many@a.test"][:MaxRecipients]
	for i := range 11 {
		var targets []string
		for j := range 100 {
			targets = append(targets, fmt.Sprintf("w%d-%d@a.test", i, j))
		}
		name := fmt.Sprintf("w%d@a.test", i)
		src.aliases[name] = targets
		src.aliases["wide@a.test"] = append(src.aliases["wide@a.test"], name)
	}
	for _, tt := range []struct {
		address string
		limit   bool
	}{
		{fmt.Sprintf("d%d@a.test", MaxDepth-1), false}, {fmt.Sprintf("d%d@a.test", MaxDepth), true},
		{"enough@a.test", false}, {"many@a.test", true}, {"wide@a.test", true},
	} {
		_, err := To(t.Context(), src, addresses(tt.address)[0], Options{})
		if errors.Is(err, ErrLimit) != tt.limit {
			t.Errorf("%s: %v, want limit %v", tt.address, err, tt.limit)
		}
	}
}
