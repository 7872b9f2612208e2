package config

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Errorf is the error of a Validate method about one flag.
func Errorf(flag, format string, args ...any) error {
	return fmt.Errorf("--%s: %w", flag, fmt.Errorf(format, args...))
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
