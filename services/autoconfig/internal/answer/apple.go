package answer

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/yubin-mail/yubin/pkg/address"
)

// ErrNothing is returned by Apple if there is no way to read or none to send mail.
var ErrNothing = errors.New("there is no way to read or none to send mail")

// Apple gives a configuration profile with one mail account (Apple's "Configuration Profile Reference", payload com.apple.mail.managed). Who
// installs it twice has it once: its identifiers follow from the host and the address.
func Apple(s Settings, who address.Address) ([]byte, error) {
	in, out := s.incoming(), s.outgoing()
	if len(in) == 0 || len(out) == 0 {
		return nil, ErrNothing
	}
	kind := "EmailTypeIMAP"
	if in[0].protocol == "pop3" {
		kind = "EmailTypePOP"
	}
	user := who.String()
	name := s.name(who.Domain)
	space := uuid.NewSHA1(uuid.NameSpaceDNS, []byte(s.Host))
	identifier := fmt.Sprintf("%s.mail.%s", s.Host, uuid.NewSHA1(space, []byte(user)))
	account := dict{
		{"EmailAccountDescription", name},
		{"EmailAccountName", user},
		{"EmailAccountType", kind},
		{"EmailAddress", user},
		{"IncomingMailServerAuthentication", "EmailAuthPassword"},
		{"IncomingMailServerHostName", in[0].host},
		{"IncomingMailServerPortNumber", in[0].port},
		{"IncomingMailServerUseSSL", true}, // on a port without TLS from the start it is STARTTLS
		{"IncomingMailServerUsername", user},
		{"OutgoingMailServerAuthentication", "EmailAuthPassword"},
		{"OutgoingMailServerHostName", out[0].host},
		{"OutgoingMailServerPortNumber", out[0].port},
		{"OutgoingMailServerUseSSL", true},
		{"OutgoingMailServerUsername", user},
		{"OutgoingPasswordSameAsIncomingPassword", true},
		{"PayloadDisplayName", user},
		{"PayloadIdentifier", identifier + ".account"},
		{"PayloadType", "com.apple.mail.managed"},
		{"PayloadUUID", uuid.NewSHA1(space, []byte("account "+user)).String()},
		{"PayloadVersion", 1},
	}
	return plist(dict{
		{"PayloadContent", []dict{account}},
		{"PayloadDisplayName", name + ": " + user},
		{"PayloadIdentifier", identifier},
		{"PayloadOrganization", name},
		{"PayloadRemovalDisallowed", false},
		{"PayloadType", "Configuration"},
		{"PayloadUUID", uuid.NewSHA1(space, []byte("profile "+user)).String()},
		{"PayloadVersion", 1},
	})
}

// dict is a dictionary of a property list in its order.
type dict []struct {
	key   string
	value any // string, int, bool or []dict
}

const plistHeader = xml.Header + `<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
`

func plist(d dict) ([]byte, error) {
	var out bytes.Buffer
	out.WriteString(plistHeader)
	if err := d.write(&out); err != nil {
		return nil, err
	}
	out.WriteString("</plist>\n")
	return out.Bytes(), nil
}

func (d dict) write(out *bytes.Buffer) error {
	out.WriteString("<dict>\n")
	for _, entry := range d {
		fmt.Fprintf(out, "<key>%s</key>", entry.key)
		switch v := entry.value.(type) {
		case string:
			out.WriteString("<string>")
			if err := xml.EscapeText(out, []byte(v)); err != nil {
				return err
			}
			out.WriteString("</string>\n")
		case int:
			fmt.Fprintf(out, "<integer>%d</integer>\n", v)
		case bool:
			fmt.Fprintf(out, "<%t/>\n", v)
		case []dict:
			out.WriteString("<array>\n")
			for _, inner := range v {
				if err := inner.write(out); err != nil {
					return err
				}
			}
			out.WriteString("</array>\n")
		default:
			return fmt.Errorf("property lists have no %T here", v)
		}
	}
	out.WriteString("</dict>\n")
	return nil
}
