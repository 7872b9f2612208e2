package cli

import (
	"bytes"
	"crypto/tls"
	"os"
	"strings"
	"testing"
)

func TestCertificates(t *testing.T) {
	dir := t.TempDir()
	var out, errs bytes.Buffer
	run := func() {
		t.Helper()
		a := &app{in: strings.NewReader(""), out: &out, errOut: &errs}
		if code := a.execute(t.Context(), []string{"certificates", "--dir", dir, "smtp", "admin", "--host", "mail.example.com", "--public-host", "mail.example.com"}); code != exitOK {
			t.Fatalf("exit %d: %s", code, errs.String())
		}
	}
	run()
	first, err := os.ReadFile(dir + "/smtp.crt")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "admin: --rpc-ca "+dir+"/ca.crt --rpc-cert "+dir+"/admin.crt --rpc-key "+dir+"/admin.key") {
		t.Fatalf("got %s", out.String())
	}
	if _, err := tls.LoadX509KeyPair(dir+"/public/tls.crt", dir+"/public/tls.key"); err != nil {
		t.Error(err)
	}
	run()
	if again, err := os.ReadFile(dir + "/smtp.crt"); err != nil || !bytes.Equal(first, again) {
		t.Fatalf("a certificate with life left was changed (%v)", err)
	}
}
