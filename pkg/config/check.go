package config

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"
)

// flagError is what is wrong with the value of a flag, wherever it was set.
type flagError struct {
	flag string
	// source is where it was set: --flag, environment YUBIN_FLAG, file:line: flag.
	source string
	err    error
}

// Error implements error.
func (e *flagError) Error() string { return e.source + ": " + e.err.Error() }

// Unwrap gives what is wrong.
func (e *flagError) Unwrap() error { return e.err }

// Errorf is the error of a Validate method about one flag.
func Errorf(flag, format string, args ...any) error {
	return &flagError{flag, "--" + flag, fmt.Errorf(format, args...)}
}

// AtLeast appends an error to errs if the value of a flag is less than least.
func AtLeast[T cmp.Ordered](errs []error, flag string, value, least T) []error {
	if value < least {
		return append(errs, Errorf(flag, "%v: must be at least %v", value, least))
	}
	return errs
}

// Between appends an error to errs if the value of a flag is not least to most.
func Between[T cmp.Ordered](errs []error, flag string, value, least, most T) []error {
	if value < least || value > most {
		return append(errs, Errorf(flag, "%v: must be %v to %v", value, least, most))
	}
	return errs
}

// Positive appends an error to errs if the duration of a flag is not more than 0.
func Positive(errs []error, flag string, value time.Duration) []error {
	if value <= 0 {
		return append(errs, Errorf(flag, "%v: must be more than 0", value))
	}
	return errs
}

// Check joins the errors of several Validate methods; its text has one line for each. It is nil if there are none.
func Check(groups ...[]error) error {
	return errors.Join(slices.Concat(groups...)...)
}

// Complete joins what Load found with what validation found, but for complaints about flags whose value Load could not
// read: those were validated as their defaults.
func Complete(loaded, validated error) error {
	unread := map[string]bool{}
	for _, err := range flatten(loaded) {
		if e := (*flagError)(nil); errors.As(err, &e) {
			unread[e.flag] = true
		}
	}
	all := flatten(loaded)
	for _, err := range flatten(validated) {
		if e := (*flagError)(nil); !errors.As(err, &e) || !unread[e.flag] {
			all = append(all, err)
		}
	}
	return errors.Join(all...)
}

// flatten lists the errors that were joined.
func flatten(err error) []error {
	if err == nil {
		return nil
	}
	joined, ok := err.(interface{ Unwrap() []error }) // joined by Load or Check themselves: nothing wraps them
	if !ok {
		return []error{err}
	}
	var all []error
	for _, e := range joined.Unwrap() {
		all = append(all, flatten(e)...)
	}
	return all
}
