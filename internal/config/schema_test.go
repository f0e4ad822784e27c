package config

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

var update = flag.Bool("update", false, "write the golden files and the schema")

const schemaFile = "../../docs/promotion.schema.json"

func TestSchemaIsWritten(t *testing.T) {
	schema, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	golden(t, schemaFile, schema)
}

// golden compares with a file, or writes it.
func golden(t *testing.T, file string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not what the code says; go test ./internal/config -update writes it. The code says:\n%s", file, got)
	}
}

// TestSchemaAgrees validates files with the schema: all that the parser takes it
// takes too, and what is wrong in form it refuses too. Files in testdata that
// begin with meaning- are wrong in a way that no schema can tell.
func TestSchemaAgrees(t *testing.T) {
	validator := validator(t)
	files, err := filepath.Glob("testdata/*.yml")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		name := filepath.Base(file)
		if strings.HasPrefix(name, "yaml-") {
			continue // no YAML, or YAML that other readers take
		}
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		err = validator.Validate(asJSON(t, name, raw))
		wrong := !strings.HasPrefix(name, "good-") && !strings.HasPrefix(name, "meaning-")
		if (err != nil) != wrong {
			t.Errorf("%s: the schema says %v", name, err)
		}
	}
}

// TestSchemaAgreesOnSnippets sets one value of a right file to another one.
func TestSchemaAgreesOnSnippets(t *testing.T) {
	validator := validator(t)
	for _, tt := range faultTable {
		if tt.meaning {
			continue
		}
		err := validator.Validate(asJSON(t, tt.name, []byte(strings.Replace(tt.text, marker, "", 1))))
		if err == nil {
			t.Errorf("%s: the schema takes\n%s", tt.name, tt.text)
		}
	}
}

func validator(t testing.TB) *jsonschema.Schema {
	t.Helper()
	text, err := os.ReadFile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource(schemaAddress, document); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile(schemaAddress)
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

func asJSON(t *testing.T, name string, raw []byte) any {
	t.Helper()
	text, err := yaml.YAMLToJSON(raw)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return value
}
