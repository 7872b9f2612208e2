package object

// OpenDir opens (and makes) a directory store.
func OpenDir(path string) (*Dir, error) { panic("skeleton") }

// Dir is a Store in a directory.
type Dir struct{ Store }

// Close releases the directory.
func (d *Dir) Close() error { panic("skeleton") }
