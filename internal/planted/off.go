//go:build !planted

package planted

// Is tells whether a bug is active: in this build none is.
func Is(Bug) bool { return false }
