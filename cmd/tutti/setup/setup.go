// Package setup has the error of what cannot run as asked: a command that ends
// with it was used wrongly.
package setup

import "fmt"

// Error says why something cannot start as asked, and what helps.
type Error struct{ err error }

// Errorf returns an *Error with a text and causes like those of fmt.Errorf.
func Errorf(format string, args ...any) error { return &Error{fmt.Errorf(format, args...)} }

// Error implements error.
func (e *Error) Error() string { return e.err.Error() }

// Unwrap implements errors' chains.
func (e *Error) Unwrap() error { return e.err }
