// Package template renders the names of tags, such as
// release-{{date 'YYYYMMDD-HHmmss'}}: literal text and a closed set of
// expressions. There are no conditions, loops or functions.
package template
