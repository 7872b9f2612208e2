package wire

// SyntaxError is a command that the client got wrong; the answer is "tag BAD [Code] Text".
type SyntaxError struct {
	// Code is a response code without brackets; empty: none.
	Code string
	Text string
}

func (e *SyntaxError) Error() string { return "syntax: " + e.Text }

// RefusedError is a well-formed command that asks for what is not offered; the answer is "tag NO [Code] Text".
type RefusedError struct {
	// Code is a response code without brackets; empty: none.
	Code string
	Text string
}

func (e *RefusedError) Error() string { return "refused: " + e.Text }

// ByeError means that the stream can no longer be followed; the answer is "* BYE Text" and the connection closes.
type ByeError struct {
	Text string
}

func (e *ByeError) Error() string { return "bye: " + e.Text }
