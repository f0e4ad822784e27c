package credential

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/artifact-promotion/promote/internal/proxy"
	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecrpublic"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/logging"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"github.com/google/go-containerregistry/pkg/authn"
)

// amazonVariables each say that the environment has an AWS identity.
// See https://docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html.
var amazonVariables = []string{
	"AWS_ACCESS_KEY_ID",
	"AWS_WEB_IDENTITY_TOKEN_FILE",
	"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
	"AWS_CONTAINER_CREDENTIALS_FULL_URI",
	"AWS_PROFILE",
}

// amazon asks ECR itself, not through the ECR credential helper: that one
// writes tokens to ~/.ecr unless a variable of the process forbids it, panics on
// a broken profile, knows no context and loses the error.
func (c *Chain) amazon(v vendor) cloudLogin {
	for _, variable := range amazonVariables {
		if c.env(variable) == "" {
			continue
		}
		how := cloudLogin{
			origin: "Amazon ECR (AWS_* variables)",
			do:     c.logInToAmazon,
			check:  "check these variables, and that this identity may call ecr:GetAuthorizationToken",
		}
		if v == amazonPublic {
			how.check = "check these variables, and that this identity may call ecr-public:GetAuthorizationToken and sts:GetServiceBearerToken"
		}
		return how
	}
	return cloudLogin{}
}

func (c *Chain) logInToAmazon(ctx context.Context, host string) (authn.AuthConfig, error) {
	token, err := c.amazonToken(ctx, host)
	if err != nil {
		return authn.AuthConfig{}, redact(ctx, amazonWords(err), c.env("AWS_SECRET_ACCESS_KEY"), c.env("AWS_SESSION_TOKEN"))
	}
	text, err := base64.StdEncoding.DecodeString(token)
	user, password, ok := strings.Cut(string(text), ":")
	if err != nil || !ok || password == "" {
		return authn.AuthConfig{}, errors.New("the answer holds no token")
	}
	return authn.AuthConfig{Username: user, Password: password}, nil
}

func (c *Chain) amazonToken(ctx context.Context, host string) (string, error) {
	registry := parseAmazon(host)
	cfg, err := c.amazonConfig(ctx, registry.region)
	if err != nil {
		return "", err
	}
	if vendorOf(host) == amazonPublic {
		return publicToken(ctx, ecrpublic.NewFromConfig(cfg))
	}
	return privateToken(ctx, ecr.NewFromConfig(cfg, registry.endpoint))
}

// amazonConfig leaves the instance metadata service out: it is nobody's
// explicit wish, and on a runner outside EC2 asking it costs seconds.
func (c *Chain) amazonConfig(ctx context.Context, region string) (aws.Config, error) {
	return config.LoadDefaultConfig(ctx,
		config.WithRegion(region),
		config.WithEC2IMDSClientEnableState(imds.ClientDisabled),
		config.WithHTTPClient(awshttp.NewBuildableClient().WithTransportOptions(c.configureOnce)),
		config.WithLogger(logging.Nop{}), // the default one writes to stderr
	)
}

// configureOnce is configure for the SDK, which repeats whatever it could not send: three times, and three times that
// where it asks STS first. A proxy that wants a login wants it each time.
func (c *Chain) configureOnce(t *http.Transport) {
	c.configure(t)
	check := t.OnProxyConnectResponse
	t.OnProxyConnectResponse = func(ctx context.Context, at *url.URL, request *http.Request, answer *http.Response) error {
		err := check(ctx, at, request, answer)
		if login := (*proxy.LoginError)(nil); errors.As(err, &login) {
			return unrepeated{err}
		}
		return err
	}
}

// unrepeated is an error after which the SDK sends nothing again (aws/retry, NoRetryCanceledError).
type unrepeated struct{ error }

func (unrepeated) CanceledError() bool { return true }
func (u unrepeated) Unwrap() error     { return u.error }

// endpoint takes the API's FIPS or dual-stack endpoint where the registry's own
// name is of that kind. STS is left as the environment has it.
func (r amazonRegistry) endpoint(o *ecr.Options) {
	if r.fips {
		o.EndpointOptions.UseFIPSEndpoint = aws.FIPSEndpointStateEnabled
	}
	if r.dualStack {
		o.EndpointOptions.UseDualStackEndpoint = aws.DualStackEndpointStateEnabled
	}
}

// privateToken is good for every registry that the identity may use, other
// accounts' included.
// See https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_GetAuthorizationToken.html.
func privateToken(ctx context.Context, client *ecr.Client) (string, error) {
	out, err := client.GetAuthorizationToken(ctx, &ecr.GetAuthorizationTokenInput{})
	if err != nil || len(out.AuthorizationData) == 0 {
		return "", err
	}
	return aws.ToString(out.AuthorizationData[0].AuthorizationToken), nil
}

func publicToken(ctx context.Context, client *ecrpublic.Client) (string, error) {
	out, err := client.GetAuthorizationToken(ctx, &ecrpublic.GetAuthorizationTokenInput{})
	if err != nil || out.AuthorizationData == nil {
		return "", err
	}
	return aws.ToString(out.AuthorizationData.AuthorizationToken), nil
}

// amazonWords is what the innermost service call met: of a failed login at ECR
// that may be a call of STS. The SDK's own text tells of each of its layers first.
func amazonWords(err error) error {
	var call *smithy.OperationError
	for next := err; errors.As(next, &call); {
		next = call.Err
	}
	if call == nil {
		return err
	}
	reason := call.Err
	var refused smithy.APIError
	var unsent *smithyhttp.RequestSendError
	switch {
	case errors.As(call.Err, &refused):
		reason = fmt.Errorf("%s: %s", refused.ErrorCode(), refused.ErrorMessage())
	case errors.As(call.Err, &unsent):
		reason = unsent.Err
	}
	return fmt.Errorf("%s %s: %w", call.ServiceID, call.OperationName, reason)
}
