package bank

// clearUpper zeroes the upper halves of the vector registers, with the
// instruction VZEROUPPER. While they are in use each SSE instruction waits for
// them: SHA-256 takes 75 times as long. It needs AVX.
//
//go:noescape
func clearUpper()
