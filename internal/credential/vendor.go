package credential

import (
	"regexp"
	"strings"
)

// vendor is whose registry a host is.
type vendor int

const (
	other vendor = iota
	dockerHub
	gitHub
	amazonECR
	amazonPublic
	googleCloud
	azureACR
)

// vendorOf knows a host by its name. Every pattern is anchored at both ends: a
// host that only looks like a vendor's must never be sent its tokens.
func vendorOf(host string) vendor {
	host = hostOf(host)
	switch {
	case host == dockerHubHost:
		return dockerHub
	case host == "ghcr.io":
		return gitHub
	case amazonHost.MatchString(host):
		return amazonECR
	case host == "public.ecr.aws", host == "ecr-public.aws.com":
		return amazonPublic
	case host == "gcr.io", strings.HasSuffix(host, ".gcr.io"), strings.HasSuffix(host, ".pkg.dev"):
		return googleCloud
	case azureHost.MatchString(host):
		return azureACR
	}
	return other
}

// amazonHost holds account, -fips, region and domain: <account>.dkr.ecr[-fips].<region>.amazonaws.com
// and the dual-stack <account>.dkr-ecr[-fips].<region>.on.aws.
// See https://docs.aws.amazon.com/AmazonECR/latest/userguide/ecr-requests.html.
var amazonHost = regexp.MustCompile(`^(\d{12})\.dkr[.-]ecr(-fips)?\.([a-z0-9-]+)\.(amazonaws\.com(?:\.cn)?|amazonaws\.eu|on\.aws|on\.amazonwebservices\.com\.cn)$`)

// azureHost holds the cloud: public, China, US government. A registry with
// regional endpoints has more labels than its name.
var azureHost = regexp.MustCompile(`^[a-z0-9-]+(?:\.[a-z0-9-]+)*\.azurecr\.(io|cn|us)$`)

// amazonRegistry is what the name of an ECR host says.
type amazonRegistry struct {
	account, region string
	fips, dualStack bool
}

func parseAmazon(host string) amazonRegistry {
	m := amazonHost.FindStringSubmatch(hostOf(host))
	if m == nil {
		// ECR Public has one region: https://docs.aws.amazon.com/general/latest/gr/ecr-public.html.
		return amazonRegistry{region: "us-east-1"}
	}
	return amazonRegistry{account: m[1], fips: m[2] != "", region: m[3], dualStack: strings.HasPrefix(m[4], "on.")}
}
