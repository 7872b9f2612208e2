package answer

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/yubin-mail/yubin/pkg/address"
)

var all = Settings{Host: "mail.example.com", IMAPS: 993, IMAP: 143, POP3S: 995, POP3: 110, Submissions: 465, Submission: 587}

func parsed(t *testing.T, s string) address.Address {
	t.Helper()
	a, err := address.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// As a mail program of the Mozilla kind: the first server of a type that it can use.
func TestMozilla(t *testing.T) {
	text, err := Mozilla(all, "example.org")
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Version  string `xml:"version,attr"`
		Provider struct {
			ID       string   `xml:"id,attr"`
			Domain   []string `xml:"domain"`
			Name     string   `xml:"displayName"`
			Incoming []struct {
				Type   string `xml:"type,attr"`
				Host   string `xml:"hostname"`
				Port   string `xml:"port"`
				Socket string `xml:"socketType"`
				User   string `xml:"username"`
				Auth   string `xml:"authentication"`
			} `xml:"incomingServer"`
			Outgoing []struct {
				Type   string `xml:"type,attr"`
				Port   string `xml:"port"`
				Socket string `xml:"socketType"`
			} `xml:"outgoingServer"`
		} `xml:"emailProvider"`
	}
	if err := xml.Unmarshal(text, &got); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	p := got.Provider
	if got.Version != "1.1" || p.ID != "example.org" || len(p.Domain) != 1 || p.Domain[0] != "example.org" || p.Name != "example.org" {
		t.Errorf("%+v", got)
	}
	var ways []string
	for _, s := range p.Incoming {
		if s.Host != "mail.example.com" || s.User != "%EMAILADDRESS%" || s.Auth != "password-cleartext" {
			t.Errorf("%+v", s)
		}
		ways = append(ways, s.Type, s.Port, s.Socket)
	}
	for _, s := range p.Outgoing {
		ways = append(ways, s.Type, s.Port, s.Socket)
	}
	const want = "imap 993 SSL imap 143 STARTTLS pop3 995 SSL pop3 110 STARTTLS smtp 465 SSL smtp 587 STARTTLS"
	if got := strings.Join(ways, " "); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestWhatIsOffIsNotOffered(t *testing.T) {
	s := Settings{Host: "mail.example.com", SMTPHost: "out.example.com", Name: "Post & Co", IMAPS: 993, Submission: 587}
	text, err := Mozilla(s, "")
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(text), "<port>"); n != 2 || strings.Contains(string(text), "pop3") {
		t.Errorf("got\n%s", text)
	}
	if !strings.Contains(string(text), `id="mail.example.com"`) || !strings.Contains(string(text), "Post &amp; Co") || !strings.Contains(string(text), "<hostname>out.example.com<") {
		t.Errorf("got\n%s", text)
	}
	if _, err := Apple(Settings{Host: "mail.example.com", IMAPS: 993}, parsed(t, "a@example.com")); !errors.Is(err, ErrNothing) {
		t.Errorf("a profile without a way to send: %v", err)
	}
}

const request = `<?xml version="1.0" encoding="utf-8"?>
<Autodiscover xmlns="http://schemas.microsoft.com/exchange/autodiscover/outlook/requestschema/2006">
  <Request><EMailAddress>%s</EMailAddress><AcceptableResponseSchema>%s</AcceptableResponseSchema></Request>
</Autodiscover>`

func TestAutodiscover(t *testing.T) {
	who, err := ParseAutodiscover(strings.NewReader(fmt.Sprintf(request, " Alice@Example.COM ", innerSpace)))
	if err != nil {
		t.Fatal(err)
	}
	text, err := Autodiscover(all, who)
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		XMLName  xml.Name `xml:"http://schemas.microsoft.com/exchange/autodiscover/responseschema/2006 Autodiscover"`
		Response struct {
			Account struct {
				Type     string `xml:"AccountType"`
				Action   string `xml:"Action"`
				Protocol []struct {
					Type, Server, LoginName, SSL, Encryption, AuthRequired string
					Port                                                   int
				}
			}
		} `xml:"http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a Response"`
	}
	if err := xml.Unmarshal(text, &got); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	a := got.Response.Account
	if a.Type != "email" || a.Action != "settings" {
		t.Errorf("%+v", a)
	}
	ways := ""
	for _, p := range a.Protocol {
		if p.Server != "mail.example.com" || p.LoginName != "alice@example.com" || p.SSL != "on" || p.AuthRequired != "on" {
			t.Errorf("%+v", p)
		}
		ways += fmt.Sprint(p.Type, " ", p.Port, " ", p.Encryption, " ")
	}
	if want := "IMAP 993 SSL POP3 995 SSL SMTP 465 SSL "; ways != want {
		t.Errorf("got %s, want %s", ways, want)
	}
}

func TestAutodiscoverRequestsThatAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		body string
		want error
	}{
		"empty":           {"", ErrInvalid},
		"no XML":          {"hello", ErrInvalid},
		"something else":  {"<Request/>", ErrInvalid},
		"no address":      {fmt.Sprintf(request, "", innerSpace), ErrInvalid},
		"no such address": {fmt.Sprintf(request, "alice", innerSpace), ErrInvalid},
		"cut":             {fmt.Sprintf(request, "alice@example.com", innerSpace)[:200], ErrInvalid},
		"too long":        {fmt.Sprintf(request, strings.Repeat(" ", MaxRequest)+"alice@example.com", innerSpace), ErrInvalid},
		"ActiveSync":      {fmt.Sprintf(request, "alice@example.com", "http://schemas.microsoft.com/exchange/autodiscover/mobilesync/responseschema/2006"), ErrSchema},
		"entities":        {`<!DOCTYPE a [<!ENTITY x "y">]><Autodiscover><Request><EMailAddress>&x;@example.com</EMailAddress></Request></Autodiscover>`, ErrInvalid},
		"nested deeply":   {strings.Repeat("<Autodiscover>", MaxRequest/14), ErrInvalid},
	} {
		if a, err := ParseAutodiscover(strings.NewReader(c.body)); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, %v, want %v", name, a, err, c.want)
		}
	}
}

func TestAutodiscoverError(t *testing.T) {
	text, err := AutodiscoverError(CodeInvalid, "Invalid Request", time.Date(2026, 1, 2, 3, 4, 5, 600, time.UTC))
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Response struct {
			Error struct {
				Time    string `xml:"Time,attr"`
				Code    int    `xml:"ErrorCode"`
				Message string
			}
		}
	}
	if err := xml.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if e := got.Response.Error; e.Code != 600 || e.Message != "Invalid Request" || e.Time != "03:04:05.0000006" {
		t.Errorf("%+v", e)
	}
}

// readDict reads a dictionary of a property list whose <dict> has been read.
func readDict(t *testing.T, d *xml.Decoder) map[string]any {
	t.Helper()
	out := map[string]any{}
	key := ""
	for {
		token, err := d.Token()
		if err != nil {
			t.Fatal(err)
		}
		switch token := token.(type) {
		case xml.EndElement:
			if token.Name.Local == "dict" {
				return out
			}
		case xml.StartElement:
			switch name := token.Name.Local; name {
			case "plist":
			case "dict":
				return readDict(t, d) // the outermost, or that of an array of one
			case "array":
				out[key] = readDict(t, d)
				if _, err := d.Token(); err != nil { // the line end before </array>
					t.Fatal(err)
				}
			case "true", "false":
				out[key] = name == "true"
			default:
				var text string
				if err := d.DecodeElement(&text, &token); err != nil {
					t.Fatal(err)
				}
				if name == "key" {
					key = text
				} else {
					out[key] = text
				}
			}
		}
	}
}

func TestApple(t *testing.T) {
	text, err := Apple(all, parsed(t, `"a&b"@example.org`))
	if err != nil {
		t.Fatal(err)
	}
	again, err := Apple(all, parsed(t, `"a&b"@example.org`))
	if err != nil || string(again) != string(text) {
		t.Errorf("a second profile is another one: %v", err)
	}
	got := readDict(t, xml.NewDecoder(strings.NewReader(string(text))))
	account, _ := got["PayloadContent"].(map[string]any)
	for key, want := range map[string]any{
		"PayloadType": "com.apple.mail.managed", "EmailAccountType": "EmailTypeIMAP", "EmailAddress": `a&b@example.org`,
		"IncomingMailServerHostName": "mail.example.com", "IncomingMailServerPortNumber": "993", "IncomingMailServerUseSSL": true,
		"OutgoingMailServerPortNumber": "465", "OutgoingPasswordSameAsIncomingPassword": true, "PayloadVersion": "1",
	} {
		if account[key] != want {
			t.Errorf("%s is %v, want %v", key, account[key], want)
		}
	}
	if got["PayloadType"] != "Configuration" || got["PayloadUUID"] == account["PayloadUUID"] || got["PayloadUUID"] == "" || got["PayloadIdentifier"] == account["PayloadIdentifier"] {
		t.Errorf("%v", got)
	}
}

func FuzzAutodiscover(f *testing.F) {
	f.Add(fmt.Sprintf(request, "alice@example.com", innerSpace))
	f.Add(`<Autodiscover><Request><EMailAddress>"a<b"@[192.0.2.1]</EMailAddress></Request></Autodiscover>`)
	f.Fuzz(func(t *testing.T, body string) {
		who, err := ParseAutodiscover(strings.NewReader(body))
		if err != nil {
			return
		}
		for name, write := range map[string]func(Settings, address.Address) ([]byte, error){"autodiscover": Autodiscover, "apple": Apple} {
			text, err := write(all, who)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			for d := xml.NewDecoder(strings.NewReader(string(text))); ; {
				if _, err := d.Token(); errors.Is(err, io.EOF) {
					break
				} else if err != nil {
					t.Fatalf("%s for %q: %v", name, who, err)
				}
			}
		}
	})
}
