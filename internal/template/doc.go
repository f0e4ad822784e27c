// Package template renders the names of tags, such as
// release-{{date 'YYYYMMDD-HHmmss'}}: literal text and a closed set of
// expressions. There are no conditions, loops or functions.
//
// A template is parsed when the inputs are read and rendered once the image is
// known. An expression whose value is missing is an error, never empty text:
// a tag that lost a part would still look like a tag.
package template
