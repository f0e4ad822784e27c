package config

import (
	"encoding/json"
)

// schemaAddress is where editors find the schema of this major version.
const schemaAddress = "https://raw.githubusercontent.com/artifact-promotion/promote/v1/docs/promotion.schema.json"

// schema is a JSON Schema, draft 7, which is what editors' YAML servers read best.
type schema struct {
	Schema        string             `json:"$schema,omitempty"`
	ID            string             `json:"$id,omitempty"`
	Title         string             `json:"title,omitempty"`
	Description   string             `json:"description,omitempty"`
	Examples      []any              `json:"examples,omitempty"`
	OneOf         []*schema          `json:"oneOf,omitempty"`
	Type          string             `json:"type,omitempty"`
	Enum          []string           `json:"enum,omitempty"`
	Pattern       string             `json:"pattern,omitempty"`
	Minimum       *int               `json:"minimum,omitempty"`
	Maximum       int                `json:"maximum,omitempty"`
	MinLength     int                `json:"minLength,omitempty"`
	MaxLength     int                `json:"maxLength,omitempty"`
	Items         *schema            `json:"items,omitempty"`
	MinItems      int                `json:"minItems,omitempty"`
	MaxItems      int                `json:"maxItems,omitempty"`
	UniqueItems   bool               `json:"uniqueItems,omitempty"`
	Required      []string           `json:"required,omitempty"`
	MinProperties int                `json:"minProperties,omitempty"`
	MaxProperties int                `json:"maxProperties,omitempty"`
	PropertyNames *schema            `json:"propertyNames,omitempty"`
	Properties    map[string]*schema `json:"properties,omitempty"`
	Additional    any                `json:"additionalProperties,omitempty"` // false, or a schema
}

// Schema is the JSON Schema of the file, for editors. It refuses nothing that
// Parse takes; Parse refuses more, since a schema cannot follow from, or parse
// CEL.
func Schema() ([]byte, error) {
	s := fileShape.schema()
	s.Schema = "http://json-schema.org/draft-07/schema#"
	s.ID = schemaAddress
	s.Title = "promotion.yml"
	text, err := json.MarshalIndent(s, "", "  ")
	return append(text, '\n'), err
}

func (s *shape) schema() *schema {
	if s.or != nil {
		first := *s
		first.or, first.about = nil, ""
		return &schema{Description: s.about, OneOf: []*schema{first.schema(), s.or.schema()}}
	}
	out := &schema{Description: s.description(), Examples: s.examples}
	switch s.kind {
	case boolean:
		out.Type = "boolean"
	case number:
		out.Type, out.Maximum = "integer", s.most
		out.Minimum = new(int)
	case list:
		out.Type = "array"
		out.Items, out.MinItems, out.MaxItems = s.item.schema(), 1, s.limit()
		out.UniqueItems = s.item.kind == text
	case dictionary:
		s.describeKeys(out)
	default:
		s.describeText(out)
	}
	return out
}

// description is for editors, which show it beside the key.
func (s *shape) description() string {
	if s.about == "" {
		return "Expected: " + s.form + "."
	}
	return s.about + " Expected: " + s.form + "."
}

func (s *shape) describeText(out *schema) {
	out.Type = "string"
	if s.words != nil {
		out.Enum = s.words
		return
	}
	out.MinLength, out.MaxLength = 1, s.limit()
	switch {
	case s.pattern != nil:
		out.Pattern = s.pattern.String()
	case s.outline != "":
		out.Pattern = s.outline
	default:
		out.Pattern = `\S` // not only blanks
	}
}

func (s *shape) describeKeys(out *schema) {
	out.Type = "object"
	out.MinProperties = 1
	if s.item != nil {
		out.MaxProperties = s.limit()
		out.PropertyNames = s.names.schema()
		out.Additional = s.item.schema()
		return
	}
	out.Additional = false
	out.Properties = map[string]*schema{}
	for _, f := range s.fields {
		out.Properties[f.name] = f.shape.schema()
		if f.required {
			out.Required = append(out.Required, f.name)
		}
	}
}
