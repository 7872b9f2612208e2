package cli

import "testing"

func TestAccountComesBackWithItsID(t *testing.T) {
	w := newWorld(t)
	w.accounts()
	const id = "0194b9a1-7c3e-7f00-8000-0123456789ab"
	w.ok("account add carol@example.test --no-password --id " + id)
	if got := jsonLines[accountView](w, "account show carol@example.test"); got[0].AccountID != id {
		t.Errorf("account id %s, want %s", got[0].AccountID, id)
	}
	w.fails(exitFailed, "exist", "account add dave@example.test --no-password --id "+id)
	w.fails(exitFailed, "UUID", "account add dave@example.test --no-password --id carol")
}
