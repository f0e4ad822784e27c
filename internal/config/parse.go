package config

import (
	"crypto/sha256"
	"encoding/hex"
)

// Parse reads a config file; path stands in its errors, which are an [*Error]
// with every fault.
func Parse(path string, raw []byte) (*Config, error) {
	r := &reader{source: readSource(raw)}
	r.faults = r.source.faults
	var config *Config
	if len(r.faults) == 0 {
		config = r.file()
	}
	if len(r.faults) > 0 {
		return nil, report(path, r.source.lines, r.faults)
	}
	digest := sha256.Sum256(raw)
	config.Digest = "sha256:" + hex.EncodeToString(digest[:])
	return config, nil
}

// reader collects the faults of a file.
type reader struct {
	source source
	faults []Fault
	// images are what {{image}} stands for; nil if there are none that can be read.
	images    []string
	hasImages bool // the key is there, whatever it holds
}

// file reads the whole file; what it returns is right only if there are no faults.
func (r *reader) file() *Config {
	root := r.parseTree()
	if root == nil {
		return nil
	}
	r.check(root, fileShape, root)
	if root.bad {
		return nil
	}
	r.hasImages = root.pair("images") != nil
	for _, image := range root.list("images") {
		r.images = append(r.images, image.text)
	}
	stages := r.stages(root.get("environments"))
	r.order(stages)
	r.overridables(stages)
	r.owners(stages)
	c := &Config{Images: r.images}
	for _, s := range stages {
		c.Environments = append(c.Environments, s.Environment)
	}
	return c
}
