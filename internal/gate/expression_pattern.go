package gate

import (
	"regexp/syntax"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/ast"
	"github.com/google/cel-go/common/overloads"
)

// maxInstructions is of a pattern: how long it takes to match is that times the
// length of the text.
const maxInstructions = 1_000

// patterns holds what matches is given to patterns that are right, small, and in the
// condition: an image must not bring its own. It stands in for the library's
// RegexProgramSizeLimit, which panics at {n} (as of v0.31.0).
type patterns struct{}

func (patterns) Name() string { return "promote.patterns" }

func (patterns) Validate(_ *cel.Env, _ cel.ValidatorConfig, tree *ast.AST, issues *cel.Issues) {
	for _, call := range ast.MatchDescendants(ast.NavigateAST(tree), ast.FunctionMatcher(overloads.Matches)) {
		arguments := call.AsCall().Args() // one of text.matches(p), two of matches(text, p)
		pattern := arguments[len(arguments)-1]
		if fault := faultOf(pattern); fault != "" {
			issues.ReportErrorAtID(pattern.ID(), "%s", fault)
		}
	}
}

func faultOf(pattern ast.Expr) string {
	if pattern.Kind() != ast.LiteralKind {
		return "the pattern of matches is not written out"
	}
	text, _ := pattern.AsLiteral().Value().(string) // the types have been checked
	tree, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return "the pattern of matches is none: " + err.Error()
	}
	program, err := syntax.Compile(tree.Simplify())
	if err != nil {
		return "the pattern of matches is none: " + err.Error()
	}
	if len(program.Inst) > maxInstructions {
		return "the pattern of matches is too large"
	}
	return ""
}
