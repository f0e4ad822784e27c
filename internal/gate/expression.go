package gate

import (
	"fmt"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/google/cel-go/cel"
)

// Expression is a condition in CEL (https://cel.dev).
type Expression struct {
	name, text string
	program    cel.Program
}

// What an expression may take. A condition that a person wrote costs some tens: the
// limits hold what loops over an image's labels, or doubles a text, without end.
const (
	maxExpression = 4 << 10 // bytes
	maxNesting    = 100
	maxNodes      = 10_000
	maxCost       = 50_000
	maxComplaint  = 300 // of the compiler, in bytes
)

const expressionRule = "a condition in CEL over image, labels, platforms, source, target, environment, actor, commit and now"

// language is CEL with our variables. image, source and target are maps of
// anything: what they do not have is found out when the condition is judged.
var language = sync.OnceValues(func() (*cel.Env, error) {
	anything := cel.MapType(cel.StringType, cel.DynType)
	return cel.NewEnv(
		cel.Variable("image", anything),
		cel.Variable("labels", cel.MapType(cel.StringType, cel.StringType)),
		cel.Variable("platforms", cel.ListType(cel.StringType)),
		cel.Variable("source", anything),
		cel.Variable("target", anything),
		cel.Variable("environment", cel.StringType),
		cel.Variable("actor", cel.StringType),
		cel.Variable("commit", cel.StringType),
		cel.Variable("now", cel.TimestampType),
		cel.DefaultUTCTimeZone(true),
		cel.ParserExpressionSizeLimit(maxExpression),
		cel.ParserRecursionLimit(maxNesting),
		cel.ExpressionNodeLimit(maxNodes),
		cel.ASTValidators(patterns{}, cel.ValidateTimestampLiterals(), cel.ValidateDurationLiterals()),
	)
})

// ParseExpression compiles a condition; the error is an [*Error] with its place.
// An empty name is made of the text.
func ParseExpression(name, text string) (Expression, error) {
	switch {
	case strings.TrimSpace(text) == "":
		return Expression{}, &Error{Given: quote(text) + " is no condition", Expected: expressionRule}
	case len(text) > maxExpression:
		return Expression{}, &Error{Given: fmt.Sprintf("%s is a condition of %d bytes", quote(text), len(text)), Expected: fmt.Sprintf("a condition of at most %d bytes", maxExpression)}
	case !utf8.ValidString(text):
		return Expression{}, &Error{Given: quote(text) + " is not UTF-8", Expected: expressionRule}
	}
	if name == "" {
		name = quote(text)
	}
	program, err := compile(text)
	if err != nil {
		return Expression{}, err
	}
	return Expression{name, text, program}, nil
}

func compile(text string) (cel.Program, error) {
	env, err := language()
	if err != nil {
		return nil, badExpression(text, err.Error())
	}
	ast, issues := env.Compile(text)
	if issues.Err() != nil {
		return nil, firstIssue(text, issues)
	}
	if !ast.OutputType().IsExactType(cel.BoolType) {
		return nil, badExpression(text, fmt.Sprintf("it is of type %s, and not true or false; compare it with something", plain(ast.OutputType().String())))
	}
	program, err := env.Program(ast, cel.CostLimit(maxCost), cel.EvalOptions(cel.OptOptimize))
	if err != nil {
		return nil, badExpression(text, err.Error())
	}
	return program, nil
}

func badExpression(text, why string) *Error {
	return &Error{Given: quote(text) + ": " + cut(plain(why), maxComplaint), Expected: expressionRule}
}

// firstIssue is the compiler's first complaint; others often follow from it.
func firstIssue(text string, issues *cel.Issues) *Error {
	all := issues.Errors()
	if len(all) == 0 {
		return badExpression(text, issues.Err().Error())
	}
	first := all[0]
	bad := badExpression(text, strings.TrimSuffix(first.Message, " (in container '')"))
	if first.Location.Line() > 0 && first.Location.Column() >= 0 {
		bad.Line, bad.Column = first.Location.Line(), first.Location.Column()+1
	}
	return bad
}
