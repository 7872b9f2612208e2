package wire

// StoreOp is what STORE does with its flags.
type StoreOp int

// The operations.
const (
	StoreSet StoreOp = iota
	StoreAdd
	StoreRemove
)

// StoreArgs are the arguments of STORE and UID STORE.
type StoreArgs struct {
	Set       NumSet
	Modifiers []Item
	Op        StoreOp
	Silent    bool
	Flags     []string
}

// StoreArgs reads the arguments of STORE and UID STORE to the end of the command.
func (d *Decoder) StoreArgs() (StoreArgs, error) {
	var a StoreArgs
	d.SP()
	a.Set = d.NumSet()
	d.SP()
	if d.Peek() == '(' {
		a.Modifiers = d.ItemList(StoreModifiers)
		d.SP()
	}
	switch {
	case d.TrySpecial('+'):
		a.Op = StoreAdd
	case d.TrySpecial('-'):
		a.Op = StoreRemove
	}
	switch d.Keyword() {
	case "FLAGS":
	case "FLAGS.SILENT":
		a.Silent = true
	default:
		d.Fail("unknown STORE item")
	}
	d.SP()
	if d.Peek() == '(' {
		a.Flags = d.FlagList()
	} else {
		a.Flags = []string{d.Flag()}
		for d.TrySP() {
			a.Flags = append(a.Flags, d.Flag())
		}
	}
	err := d.End()
	return a, err
}
