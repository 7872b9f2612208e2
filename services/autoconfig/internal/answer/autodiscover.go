package answer

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/yubin-mail/yubin/pkg/address"
)

// Name spaces of Autodiscover (MS-OXDSCLI section 2.2.3).
const (
	outerSpace = "http://schemas.microsoft.com/exchange/autodiscover/responseschema/2006"
	innerSpace = "http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a"
)

// Codes of errors (MS-OXDSCLI section 2.2.4.1.1.1).
const (
	CodeInvalid     = 600 // the request cannot be understood
	CodeUnavailable = 601 // it asks for what there is not
)

// MaxRequest is how many octets of a request are read.
const MaxRequest = 16 << 10

// Errors of ParseAutodiscover.
var (
	// ErrInvalid says that the request is not one of Autodiscover with an address in it.
	ErrInvalid = errors.New("invalid request")
	// ErrSchema says that another kind of answer is wanted than settings of mail protocols, such as that for ActiveSync.
	ErrSchema = errors.New("answers of this schema are not given")
)

// ParseAutodiscover gives the address in the body of a POST (MS-OXDSCLI section 2.2.3.1), normalised.
func ParseAutodiscover(body io.Reader) (address.Address, error) {
	var request struct {
		XMLName xml.Name `xml:"Autodiscover"`
		Request struct {
			Address string `xml:"EMailAddress"`
			Schema  string `xml:"AcceptableResponseSchema"`
		} `xml:"Request"`
	}
	limited := &io.LimitedReader{R: body, N: MaxRequest + 1}
	if err := xml.NewDecoder(limited).Decode(&request); err != nil {
		return address.Address{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if limited.N == 0 {
		return address.Address{}, fmt.Errorf("%w: more than %d octets", ErrInvalid, MaxRequest)
	}
	user, err := address.Parse(strings.TrimSpace(request.Request.Address))
	if err != nil {
		return address.Address{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if schema := strings.TrimSpace(request.Request.Schema); schema != "" && schema != innerSpace {
		return address.Address{}, ErrSchema
	}
	return user, nil
}

type autodiscover struct {
	XMLName  xml.Name `xml:"Autodiscover"`
	Space    string   `xml:"xmlns,attr"`
	Response response `xml:"Response"`
}

type response struct {
	Space   string         `xml:"xmlns,attr,omitempty"`
	User    *user          `xml:"User"`
	Account *account       `xml:"Account"`
	Error   *responseError `xml:"Error"`
}

type user struct {
	Name string `xml:"DisplayName"`
}

type account struct {
	Type      string     `xml:"AccountType"`
	Action    string     `xml:"Action"`
	Protocols []protocol `xml:"Protocol"`
}

// protocol is as in MS-OXDSCLI section 2.2.4.1.1.2.6.
type protocol struct {
	Type           string `xml:"Type"`
	Server         string `xml:"Server"`
	Port           int    `xml:"Port"`
	LoginName      string `xml:"LoginName"`
	DomainRequired string `xml:"DomainRequired"`
	SPA            string `xml:"SPA"`
	SSL            string `xml:"SSL"`
	Encryption     string `xml:"Encryption"`
	AuthRequired   string `xml:"AuthRequired"`
	UsePOPAuth     string `xml:"UsePOPAuth,omitempty"`
	SMTPLast       string `xml:"SMTPLast,omitempty"`
}

type responseError struct {
	Time    string `xml:"Time,attr"`
	ID      string `xml:"Id,attr"`
	Code    int    `xml:"ErrorCode"`
	Message string `xml:"Message"`
	Debug   string `xml:"DebugData"`
}

// Autodiscover gives the settings of an account: of each protocol the best way only, as Outlook looks at no other.
func Autodiscover(s Settings, who address.Address) ([]byte, error) {
	a := &account{Type: "email", Action: "settings"}
	for _, way := range append(best(s.incoming()), best(s.outgoing())...) {
		p := protocol{
			Type: strings.ToUpper(way.protocol), Server: way.host, Port: way.port, LoginName: who.String(),
			DomainRequired: "off", SPA: "off", SSL: "on", Encryption: "TLS", AuthRequired: "on",
		}
		if way.tls {
			p.Encryption = "SSL"
		}
		if way.protocol == "smtp" {
			p.UsePOPAuth, p.SMTPLast = "off", "off"
		}
		a.Protocols = append(a.Protocols, p)
	}
	return document(autodiscover{Space: outerSpace, Response: response{Space: innerSpace, User: &user{Name: who.String()}, Account: a}})
}

// AutodiscoverError is the answer to a request that cannot be served.
func AutodiscoverError(code int, message string, now time.Time) ([]byte, error) {
	return document(autodiscover{Space: outerSpace, Response: response{
		Error: &responseError{Time: now.UTC().Format("15:04:05.0000000"), ID: "0", Code: code, Message: message},
	}})
}
