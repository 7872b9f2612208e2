package answer

import "encoding/xml"

// clientConfig is Mozilla's configuration file format 1.1 (draft-ietf-mailmaint-autoconfig).
type clientConfig struct {
	XMLName  xml.Name `xml:"clientConfig"`
	Version  string   `xml:"version,attr"`
	Provider provider `xml:"emailProvider"`
}

type provider struct {
	ID        string          `xml:"id,attr"`
	Domain    string          `xml:"domain"`
	Name      string          `xml:"displayName"`
	ShortName string          `xml:"displayShortName"`
	Incoming  []mozillaServer `xml:"incomingServer"`
	Outgoing  []mozillaServer `xml:"outgoingServer"`
}

type mozillaServer struct {
	Type           string `xml:"type,attr"`
	Host           string `xml:"hostname"`
	Port           int    `xml:"port"`
	Socket         string `xml:"socketType"`
	Authentication string `xml:"authentication"`
	User           string `xml:"username"`
}

// Mozilla gives the configuration of a domain.
func Mozilla(s Settings, domain string) ([]byte, error) {
	if domain == "" {
		domain = s.Host
	}
	return document(clientConfig{Version: "1.1", Provider: provider{
		ID: domain, Domain: domain, Name: s.name(domain), ShortName: s.name(domain),
		Incoming: mozilla(s.incoming()), Outgoing: mozilla(s.outgoing()),
	}})
}

func mozilla(servers []server) []mozillaServer {
	var out []mozillaServer
	for _, way := range servers {
		m := mozillaServer{
			Type: way.protocol, Host: way.host, Port: way.port, Socket: "STARTTLS",
			Authentication: "password-cleartext", // within TLS
			User:           "%EMAILADDRESS%",     // the mail program fills it in
		}
		if way.tls {
			m.Socket = "SSL"
		}
		out = append(out, m)
	}
	return out
}

// document is XML with its declaration.
func document(v any) ([]byte, error) {
	text, err := xml.MarshalIndent(v, "", "  ")
	if err != nil {
		return nil, err
	}
	return append([]byte(xml.Header), append(text, '\n')...), nil
}
