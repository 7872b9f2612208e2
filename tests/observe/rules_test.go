package observe

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/yubin-mail/yubin/pkg/testserver/prometheus"
	"github.com/yubin-mail/yubin/tests/harness"
)

func promtool(t *testing.T, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), prometheus.Program(t, "promtool"), args...)
	cmd.Dir = filepath.Join(harness.Root(t), rulesDir)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "promtool %s\n%s", strings.Join(args, " "), out)
}

func TestRulesAreSound(t *testing.T) {
	promtool(t, "check", "rules", "--lint=all", "--lint-fatal", "recording.yaml", "alerts.yaml")
	promtool(t, "check", "config", "--syntax-only", "prometheus.yml")
}

func TestAlertsFireWhenTheyShallAndNotBefore(t *testing.T) {
	promtool(t, "test", "rules", "tests/alerts.yaml")
}

func TestEveryAlertHasATestOfBoth(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(harness.Root(t), rulesDir, "tests/alerts.yaml"))
	require.NoError(t, err)
	var tests struct {
		Tests []struct {
			Cases []struct {
				Alert  string `yaml:"alertname"`
				Alerts []struct {
					Labels map[string]string `yaml:"exp_labels"`
				} `yaml:"exp_alerts"`
			} `yaml:"alert_rule_test"`
		} `yaml:"tests"`
	}
	require.NoError(t, yaml.Unmarshal(text, &tests))
	fires, quiet := map[string]bool{}, map[string]bool{}
	for _, test := range tests.Tests {
		for _, c := range test.Cases {
			quiet[c.Alert] = quiet[c.Alert] || len(c.Alerts) == 0
			for _, a := range c.Alerts {
				fires[c.Alert+" "+a.Labels["severity"]] = true
			}
		}
	}
	for _, r := range rules(t) {
		if r.Alert != "" {
			assert.True(t, fires[r.Alert+" "+r.Labels["severity"]], "%s, %s: no test in which it fires", r.Alert, r.Labels["severity"])
			assert.True(t, quiet[r.Alert], "%s: no test in which it does not fire", r.Alert)
		}
	}
}

func TestEveryAlertHasARunbook(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(harness.Root(t), "docs/operations.md"))
	require.NoError(t, err)
	sections := map[string]string{}
	for _, section := range regexp.MustCompile(`(?m)^#+ `).Split(string(text), -1) {
		title, body, _ := strings.Cut(section, "\n")
		sections[anchor(title)] = body
	}
	alerts := map[string]bool{}
	for _, r := range rules(t) {
		if r.Alert == "" {
			continue
		}
		alerts[anchor(r.Alert)] = true
		assert.Contains(t, []string{"critical", "warning", "info"}, r.Labels["severity"], r.Alert)
		assert.NotEmpty(t, r.Annotations["summary"], r.Alert)
		file, heading, _ := strings.Cut(r.Annotations["runbook_url"], "#")
		assert.Equal(t, "https://github.com/yubin-mail/yubin/blob/main/docs/operations.md", file, r.Alert)
		body, ok := sections[heading]
		if assert.True(t, ok, "%s: docs/operations.md has no heading for %s", r.Alert, heading) {
			for _, part := range []string{"**Means.**", "**Look.**", "**Do.**"} {
				assert.Contains(t, body, part, r.Alert)
			}
		}
	}
	for heading := range sections {
		if strings.HasPrefix(heading, "yubin") && !strings.Contains(heading, "-") {
			assert.True(t, alerts[heading], "docs/operations.md has a runbook for %s, which is no alert", heading)
		}
	}
}

// anchor is how GitHub names a heading in a link.
func anchor(title string) string {
	return regexp.MustCompile(`[^a-z0-9 _-]`).ReplaceAllString(strings.ReplaceAll(strings.ToLower(title), " ", "-"), "")
}
