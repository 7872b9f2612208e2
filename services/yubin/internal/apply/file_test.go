package apply

import (
	"os"
	"strings"
	"testing"
)

func TestParseTellsAllMistakes(t *testing.T) {
	for _, c := range []struct {
		name, in string
		want     []string // lines of the error; none: it is right
	}{
		{"nothing", "", []string{"the file is empty"}},
		{"right", "limit: {size: 5GB, messages: 10}\ndomains:\n- name: Example.TEST\n  catch-all: [a@example.test]\naccounts:\n- address: Alice@example.test\n", nil},
		{"unknown settings", "domians: []\naccounts:\n- address: a@example.test\n  quota: 1\n",
			[]string{`line 1: unknown setting "domians"`, `line 4: unknown setting "quota"`}},
		{"wrong type", "domains:\n- name: example.test\n  disabled: perhaps\n", []string{"line 3: cannot unmarshal !!str `perhaps` into bool"}},
		{"no YAML", "a: [", []string{"line 1: did not find expected node content"}},
		{"two documents", "domains: []\n---\ndomains: []\n", []string{"the file has more than one YAML document"}},
		{"values", `limit: {size: lots}
domains:
- name: example.test
- name: exa mple
  pop-delete: burn
accounts:
- address: alice
- address: bob@example.test
  password: short
  limit:
    messages: 5GB
aliases:
- address: bob@EXAMPLE.test
  targets: [alice@example.test, "@"]
- address: c@example.test
`, []string{
			`line 1: "lots" is no limit`, `line 4: domain "exa mple"`, `line 5: "burn" is none of`, `line 7: account "alice": invalid address: there is no @ in it`,
			`line 9: the password is shorter than 8 characters`, `line 11: "5GB" is no number of messages`,
			`line 13: address bob@example.test is there already, on line 8`, `line 14: target "@"`, `line 15: alias c@example.test: it needs at least one target`,
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Parse(strings.NewReader(c.in))
			if len(c.want) == 0 {
				if err != nil {
					t.Errorf("unexpected: %v", err)
				}
				return
			}
			if err == nil {
				t.Fatal("no error")
			}
			got := strings.Split(err.Error(), "\n")
			if len(got) != len(c.want) {
				t.Errorf("%d mistakes, want %d:\n%v", len(got), len(c.want), err)
			}
			for i := range min(len(got), len(c.want)) {
				if !strings.HasPrefix(got[i], c.want[i]) {
					t.Errorf("got  %s\nwant %s", got[i], c.want[i])
				}
			}
		})
	}
}

func TestExampleParses(t *testing.T) {
	f, err := os.Open("../../../../deploy/examples/accounts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	file, err := Parse(f)
	if err != nil {
		t.Fatal(err)
	}
	if len(file.Domains) != 2 || len(file.Accounts) != 3 || len(file.Aliases) != 2 {
		t.Errorf("%d domains, %d accounts, %d aliases", len(file.Domains), len(file.Accounts), len(file.Aliases))
	}
}

func TestLimits(t *testing.T) {
	for _, c := range []struct {
		text string
		size bool
		want string // as FormatLimit gives it, "" if it is wrong
	}{
		{"5GB", true, "5GB"}, {"1000000", true, "1MB"}, {"1.5MB", true, "1500KB"}, {"none", true, "none"}, {"NONE", false, "none"},
		{"default", true, "default"}, {"0", true, "0"}, {"100", false, "100"}, {"0", false, "0"},
		{"-1", true, ""}, {"-1", false, ""}, {"5GB", false, ""}, {"many", true, ""}, {"", true, ""},
	} {
		n, err := ParseLimit(c.text, c.size)
		if (err == nil) != (c.want != "") {
			t.Errorf("%q: error %v", c.text, err)
		}
		if err == nil && FormatLimit(n, c.size) != c.want {
			t.Errorf("%q: %s, want %s", c.text, FormatLimit(n, c.size), c.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("limit: {size: 5GB}\ndomains:\n- &a {name: x.test}\n- *a\naccounts: [{address: a@b}]\n")
	f.Fuzz(func(t *testing.T, text string) {
		file, err := Parse(strings.NewReader(text))
		if err != nil && err.Error() == "" {
			t.Error("an error without a text")
		}
		if err == nil && file == nil {
			t.Error("neither file nor error")
		}
	})
}
