package credential

import "testing"

func TestVendor(t *testing.T) {
	for host, want := range map[string]vendor{
		"index.docker.io":      dockerHub,
		"docker.io":            dockerHub,
		"registry-1.docker.io": dockerHub,
		"ghcr.io":              gitHub,
		"GHCR.IO":              gitHub,
		"123456789012.dkr.ecr.eu-west-1.amazonaws.com":          amazonECR,
		"123456789012.dkr.ecr-fips.us-gov-west-1.amazonaws.com": amazonECR,
		"123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn":      amazonECR,
		"123456789012.dkr.ecr.eusc-de-east-1.amazonaws.eu":      amazonECR,
		"123456789012.dkr-ecr.eu-west-1.on.aws":                 amazonECR,
		"123456789012.dkr-ecr-fips.us-east-1.on.aws":            amazonECR,
		"public.ecr.aws":              amazonPublic,
		"ecr-public.aws.com":          amazonPublic,
		"gcr.io":                      googleCloud,
		"eu.gcr.io":                   googleCloud,
		"europe-west1-docker.pkg.dev": googleCloud,
		"acme.azurecr.io":             azureACR,
		"acme-e5f6.azurecr.io":        azureACR,
		"acme.azurecr.cn":             azureACR,
		"acme.azurecr.us":             azureACR,

		"localhost:5000":      other,
		"ghcr.io.example.com": other,
		"ghcr.io:8443":        other,
		"123456789012.dkr.ecr.eu-west-1.amazonaws.com.example.com": other,
		"x.123456789012.dkr.ecr.eu-west-1.amazonaws.com":           other,
		"12345.dkr.ecr.eu-west-1.amazonaws.com":                    other,
		"123456789012.dkr.ecr.eu-west-1.amazonaws.comx":            other,
		"acme.azurecr.io.example.com":                              other,
		"azurecr.io":                                               other,
		"acme-azurecr.io":                                          other,
		"evilgcr.io":                                               other,
		"gcr.io.example.com":                                       other,
		"pkg.dev.example.com":                                      other,
		"public.ecr.aws.example.com":                               other,
	} {
		if got := vendorOf(host); got != want {
			t.Errorf("vendorOf(%q) = %d, want %d", host, got, want)
		}
	}
}

func TestParseAmazon(t *testing.T) {
	for host, want := range map[string]amazonRegistry{
		"123456789012.dkr.ecr.eu-west-1.amazonaws.com":          {"123456789012", "eu-west-1", false, false},
		"123456789012.dkr.ecr-fips.us-gov-west-1.amazonaws.com": {"123456789012", "us-gov-west-1", true, false},
		"123456789012.dkr-ecr.eu-west-1.on.aws":                 {"123456789012", "eu-west-1", false, true},
		"123456789012.dkr-ecr-fips.us-east-1.on.aws":            {"123456789012", "us-east-1", true, true},
		"public.ecr.aws": {"", "us-east-1", false, false},
	} {
		if got := parseAmazon(host); got != want {
			t.Errorf("parseAmazon(%q) = %+v, want %+v", host, got, want)
		}
	}
}
