package sasl

import (
	"context"
	"slices"
	"sync"
	"time"

	directoryv1 "github.com/yubin-mail/yubin/proto/yubin/directory/v1"
)

// Names of the mechanisms, as registered with IANA; XOAUTH2 is Google's, and is not.
const (
	MechanismScramSHA256Plus = "SCRAM-SHA-256-PLUS"
	MechanismScramSHA256     = "SCRAM-SHA-256"
	MechanismOAuthBearer     = "OAUTHBEARER"
	MechanismXOAuth2         = "XOAUTH2"
	MechanismPlain           = "PLAIN"
	MechanismLogin           = "LOGIN"
)

// Known lists the mechanisms that a gateway can offer, the strongest first.
func Known() []string {
	return []string{MechanismScramSHA256Plus, MechanismScramSHA256, MechanismOAuthBearer, MechanismXOAuth2, MechanismPlain, MechanismLogin}
}

// common are those that a directory has that does not tell: what it cannot do it refuses.
var common = []string{MechanismScramSHA256, MechanismPlain, MechanismLogin}

const (
	// An answer of the directory holds for offerAge; a question that failed is asked again after offerRetry, and waits no longer than offerTimeout.
	offerAge     = time.Minute
	offerRetry   = 5 * time.Second
	offerTimeout = 2 * time.Second
)

// Offer knows which mechanisms the directory has. Only its first question is waited for; later ones are asked beside. It is safe for concurrent use.
type Offer struct {
	client directoryv1.DirectoryServiceClient
	first  sync.Once

	mu    sync.Mutex
	names []string
	until time.Time // when to ask again
}

// NewOffer makes an Offer, which asks when it is needed.
func NewOffer(client directoryv1.DirectoryServiceClient) *Offer {
	return &Offer{client: client, names: common}
}

// Mechanisms lists what may be offered on a connection, the strongest first. Without plaintext (the connection is not encrypted, and nothing
// else allows it) only those are in it that do not show the password to the wire. Those with channel binding need bindings.
func (o *Offer) Mechanisms(plaintext bool, bindings []*directoryv1.ChannelBinding) []string {
	var out []string
	for _, name := range o.known() {
		switch name {
		case MechanismScramSHA256:
		case MechanismScramSHA256Plus:
			if len(bindings) == 0 {
				continue
			}
		default:
			if !plaintext {
				continue
			}
		}
		out = append(out, name)
	}
	return out
}

// Bindings gives the bindings of a connection as Start.ChannelBindings needs them: none while mechanisms with channel binding are not offered.
func (o *Offer) Bindings(bindings []*directoryv1.ChannelBinding) []*directoryv1.ChannelBinding {
	if !slices.Contains(o.known(), MechanismScramSHA256Plus) {
		return nil
	}
	return bindings
}

// known gives what is known, and sees to it that it is known again.
func (o *Offer) known() []string {
	o.first.Do(o.ask)
	o.mu.Lock()
	defer o.mu.Unlock()
	if time.Now().After(o.until) {
		o.until = time.Now().Add(offerTimeout + offerRetry)
		go o.ask()
	}
	return o.names
}

// ask asks the directory. What was known stays if it does not answer.
func (o *Offer) ask() {
	ctx, cancel := context.WithTimeout(context.Background(), offerTimeout)
	defer cancel()
	answer, err := o.client.ListMechanisms(ctx, &directoryv1.ListMechanismsRequest{})
	o.mu.Lock()
	defer o.mu.Unlock()
	if err != nil {
		o.until = time.Now().Add(offerRetry)
		return
	}
	o.until = time.Now().Add(offerAge)
	o.names = slices.DeleteFunc(Known(), func(name string) bool { return !slices.Contains(answer.GetMechanisms(), name) })
}
