package compose

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"

	"github.com/yubin-mail/yubin/tools/kube/internal/program"
)

func load(t *testing.T) *types.Project {
	t.Helper()
	options, err := cli.NewProjectOptions([]string{filepath.Join(program.Root, "deploy", "compose.yaml")})
	if err != nil {
		t.Fatal(err)
	}
	project, err := options.LoadProject(t.Context()) // checks the schema and what refers to what
	if err != nil {
		t.Fatal(err)
	}
	return project
}

func TestEveryServiceIsThere(t *testing.T) {
	project := load(t)
	want := []string{"admin", "autoconfig", "certificates", "directory", "grafana", "imap", "minio", "nats", "pop3", "postgres", "prometheus", "quota", "smtp", "storage"}
	if got := slices.Sorted(maps.Keys(project.Services)); !slices.Equal(got, want) {
		t.Errorf("services %v, want %v", got, want)
	}
	for name, service := range project.Services {
		for _, port := range service.Ports {
			if port.HostIP != "127.0.0.1" {
				t.Errorf("%s: port %d is open to the network", name, port.Target)
			}
		}
		for _, volume := range service.Volumes {
			if volume.Type != types.VolumeTypeBind {
				continue
			}
			if _, err := os.Stat(volume.Source); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		if service.Build != nil {
			if _, err := os.Stat(filepath.Join(service.Build.Context, service.Build.Dockerfile)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if built := service.Build.Args["SERVICE"]; built == nil || service.Image != "yubin/"+*built {
				t.Errorf("%s: image %s is built with %v", name, service.Image, service.Build.Args)
			}
		}
	}
}

func TestEverySettingExists(t *testing.T) {
	for name, service := range load(t).Services {
		binary, ours := strings.CutPrefix(service.Image, "yubin/")
		if !ours {
			continue
		}
		var flags map[string]bool
		if binary == "yubin" {
			flags = program.CommandFlags(t, service.Command[0])
		} else {
			flags = program.Flags(t, binary)
		}
		if unknown := program.Unknown(flags, service.Command, slices.Collect(maps.Keys(service.Environment))); len(unknown) > 0 {
			t.Errorf("%s has no %v", name, unknown)
		}
	}
}

// A gateway is called by the names that it publishes, and mail programs are told the ports.
func TestPortsAreThoseThatAreTold(t *testing.T) {
	services := load(t).Services
	told := services["autoconfig"].Environment
	for variable, gateway := range map[string]string{
		"IMAPS": "imap", "IMAP": "imap", "POP3S": "pop3", "POP3": "pop3", "SUBMISSIONS": "smtp", "SUBMISSION": "smtp",
	} {
		port := told["YUBIN_AUTOCONFIG_"+variable+"_PORT"]
		if port == nil || !slices.ContainsFunc(services[gateway].Ports, func(p types.ServicePortConfig) bool { return p.Published == *port }) {
			t.Errorf("%s: %v is not published by %s", variable, port, gateway)
		}
	}
}
