package gate

import "errors"

// Platform is os/arch[/variant].
type Platform struct{ os, arch, variant string }

// ParsePlatform reads os/arch[/variant]; the error is an [*Error].
func ParsePlatform(text string) (Platform, error) { return Platform{}, errors.New(text) }
