//go:build !linux && !darwin

package live

import "os"

func mute(*os.File) (undo func()) { return func() {} }
