package wire

import "cmp"

// Limits bound what a client can make the decoder hold or do. A zero field means its default.
type Limits struct {
	// Line is the most octets between two line ends.
	Line int
	// Command is the most octets of one command, with its literals but without those that stream.
	Command int
	// Literal is the most octets of one literal that does not stream.
	Literal int
	// Depth is the deepest nesting of parentheses, NOT and OR.
	Depth int
	// Items is the most list elements, search keys and strings in one command.
	Items int
	// Discard is the most octets skipped to find the end of a broken or refused command.
	Discard int64
}

// DefaultLimits are for a session that has logged in.
func DefaultLimits() Limits {
	return Limits{Line: 64 << 10, Command: 1 << 20, Literal: 1 << 20, Depth: 32, Items: 4096, Discard: 64 << 20}
}

// LoginLimits are for a client that nobody knows yet.
func LoginLimits() Limits {
	return Limits{Line: 8 << 10, Command: 8 << 10, Literal: 8 << 10, Depth: 4, Items: 256, Discard: 64 << 10}
}

func (l Limits) withDefaults() Limits {
	def := DefaultLimits()
	return Limits{
		Line:    cmp.Or(l.Line, def.Line),
		Command: cmp.Or(l.Command, def.Command),
		Literal: cmp.Or(l.Literal, def.Literal),
		Depth:   cmp.Or(l.Depth, def.Depth),
		Items:   cmp.Or(l.Items, def.Items),
		Discard: cmp.Or(l.Discard, def.Discard),
	}
}
