package document

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
)

var (
	digestA = "sha256:" + strings.Repeat("0a", 32)
	digestB = "sha256:" + strings.Repeat("0b", 32)
	created = time.Date(2026, 11, 22, 14, 3, 0, 0, time.UTC)
)

// example has every field of a plan.
func example() Plan {
	free := created.Add(24 * time.Hour)
	return Plan{
		Schema: PlanSchema, Created: created, Expires: created.Add(7 * 24 * time.Hour), Environment: "production",
		Config:  &Config{Path: ".github/promotion.yml", Ref: "main", Digest: digestB},
		NoGates: true, Attachments: true, Verify: "blobs", Reason: "CHG-4711 <now> & \u2028 \u00e9",
		Job: Job{"acme/app", "17", "1", "plan", "https://github.com/acme/app/actions/runs/17", "acme/app/x.yml@refs/heads/main", "c0ffee", "ann", "bob"},
		Promotions: []PlannedPromotion{{
			Image:  "app",
			Source: Source{Reference: "ghcr.io/acme/app:staging", Repository: "ghcr.io/acme/app", Tag: "staging"},
			Digest: digestA, MediaType: "application/vnd.oci.image.index.v1+json", Repository: "registry.acme.example/app",
			Tags:      []PlannedTag{{Name: "production", Before: digestB}, {Name: "v1", Fixed: true}},
			From:      &Held{Environment: "staging", Reference: "ghcr.io/acme/app:staging", Digest: digestA},
			Platforms: []string{"linux/amd64", "linux/arm64"},
			Content:   Content{Manifests: 3, Blobs: 12, Bytes: 1 << 30}, Missing: Missing{Manifests: 1, Blobs: 2, Bytes: 3},
			Gates: []Verdict{
				{Gate: "freeze", Status: Pending, Message: "weekend", FreeAt: &free},
				{Gate: "expressions", Name: "ours", Status: Fail, Message: "not ours", Overridden: true},
			},
		}},
	}
}

// planOf has a promotion for each image: its digest has the image's number.
func planOf(images ...int) Plan {
	p := example()
	one := p.Promotions[0]
	p.Promotions = nil
	for i, image := range images {
		one.Image, one.Digest = fmt.Sprint("image-", image), fmt.Sprintf("sha256:%064x", image)
		one.Tags = []PlannedTag{{Name: fmt.Sprint("tag-", i)}}
		p.Promotions = append(p.Promotions, one)
	}
	return p
}

func TestPlanComesBackAsItWas(t *testing.T) {
	for name, p := range map[string]Plan{"full": example(), "40 images": planOf(numbers(40)...)} {
		raw := p.Encode()
		text := Pack(raw)
		unpacked, err := Unpack("\n " + text + "\r\n")
		if err != nil {
			t.Fatal(err)
		}
		got, err := ParsePlan(unpacked)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got.Encode(), raw) || name == "full" && !reflect.DeepEqual(got, p) {
			t.Errorf("%s: the plan came back as %+v, was %+v", name, got, p)
		}
		if Pack(p.Encode()) != text || strings.Trim(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			t.Errorf("%s: the text is not always the same base64url: %s", name, text)
		}
	}
}

func numbers(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}

// TestEncodeIsNormal gives Encode what ParsePlan would refuse if it were written
// as it is: other zones, broken UTF-8, lists that are nil.
func TestEncodeIsNormal(t *testing.T) {
	zone := time.FixedZone("", 3600)
	p := example()
	free := p.Promotions[0].Gates[0].FreeAt.In(zone)
	p.Created, p.Expires, p.Promotions[0].Gates[0].FreeAt = p.Created.In(zone), p.Expires.In(zone), &free
	if !bytes.Equal(p.Encode(), example().Encode()) {
		t.Errorf("the zone changes the plan: %s", p.Encode())
	}
	if p.Promotions[0].Gates[0].FreeAt.Location() != zone {
		t.Error("Encode changes the plan")
	}
	p.Reason = "broken \xff \\ufffd \ufffd"
	p.Promotions[0].Gates[1].Message = "\xc3"
	if _, err := ParsePlan(p.Encode()); err != nil {
		t.Errorf("broken UTF-8: %v", err)
	}
	if raw := string((Plan{}).Encode()); !strings.Contains(raw, `"promotions":[]`) {
		t.Errorf("no promotions are not a list: %s", raw)
	}
	if raw := string((Plan{Promotions: make([]PlannedPromotion, 1)}).Encode()); !strings.Contains(raw, `"tags":[]`) {
		t.Errorf("no tags are not a list: %s", raw)
	}
}

func TestDigestOf(t *testing.T) {
	// FIPS 180-2, appendix B.1.
	if got := DigestOf([]byte("abc")); got != "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" {
		t.Errorf("DigestOf(abc) = %s", got)
	}
}

func TestParsePlanRefuses(t *testing.T) {
	good := string(example().Encode())
	for name, test := range map[string]struct{ old, new, want string }{
		"another schema":        {"/plan/v1", "/plan/v2", "with this version of the program"},
		"an unknown key":        {`"schema"`, `"extra":1,"schema"`, "unknown field"},
		"an unknown inner key":  {`"name":"v1"`, `"name":"v1","x":1`, "unknown field"},
		"a key twice":           {`"verify":"blobs"`, `"verify":"blobs","verify":"blobs"`, `is there twice`},
		"a key twice, inside":   {`"name":"v1"`, `"name":"v0","name":"v1"`, `is there twice`},
		"a key twice, escaped":  {`"name":"v1"`, `"name":"v0","\u006eame":"v1"`, `is there twice`},
		"another case":          {`"verify"`, `"Verify"`, "altered"},
		"both cases":            {`"verify":"blobs"`, `"verify":"blobs","Verify":"none"`, "altered"},
		"a blank":               {`"verify":`, `"verify": `, "altered"},
		"an escape":             {"ghcr.io/acme/app", `ghcr.io\/acme\/app`, "altered"},
		"a null":                {`"verify":"blobs"`, `"verify":null`, "altered"},
		"a null list":           {`"platforms":["linux/amd64","linux/arm64"]`, `"platforms":null`, "altered"},
		"an explicit default":   {`{"name":"production",`, `{"name":"production","fixed":false,`, "altered"},
		"another order":         {`"attachments":true,"verify":"blobs"`, `"verify":"blobs","attachments":true`, "altered"},
		"a long number":         {`"manifests":3`, `"manifests":3.0`, "cannot unmarshal"},
		"another zone":          {"2026-11-22T14:03:00Z", "2026-11-22T15:03:00+01:00", "created is not in UTC"},
		"UTC as a number":       {"2026-11-22T14:03:00Z", "2026-11-22T14:03:00+00:00", "altered"},
		"another zone, expires": {"2026-11-29T14:03:00Z", "2026-11-29T14:03:00-01:00", "expires is not in UTC"},
		"the year 10000 in UTC": {"2026-11-29T14:03:00Z", "9999-12-31T23:59:59-01:00", "expires is not in UTC"},
		"another zone, gate":    {"2026-11-23T14:03:00Z", "2026-11-23T14:03:00+01:00", "freeAt"},
		"gate, year 10000":      {"2026-11-23T14:03:00Z", "9999-12-31T23:59:59-01:00", "freeAt"},
		"a time that is none":   {"2026-11-22T14:03:00Z", "2026-02-30T14:03:00Z", "day out of range"},
		"no validity":           {"2026-11-29T14:03:00Z", "2026-11-22T14:03:00Z", "not after created"},
		"a negative validity":   {"2026-11-29T14:03:00Z", "2025-11-29T14:03:00Z", "not after created"},
		"config's digest":       {`"ref":"main","digest":"` + digestB, `"ref":"main","digest":"`, "config is"},
		"a short digest":        {`"` + digestA + `","mediaType"`, `"` + digestA[:70] + `","mediaType"`, "expected sha256:"},
		"an upper-case digest":  {`"` + digestA + `","mediaType"`, `"` + strings.ToUpper(digestA) + `","mediaType"`, "expected sha256:"},
		"another algorithm":     {`"` + digestA + `","mediaType"`, `"sha384:` + digestA[7:] + `","mediaType"`, "expected sha256:"},
		"sha512 too short":      {`"` + digestA + `","mediaType"`, `"sha512:` + digestA[7:] + `","mediaType"`, "expected sha256:"},
		"a tag's digest":        {`"before":"` + digestB, `"before":"latest`, "before of tag"},
		"the other one's":       {`"ghcr.io/acme/app:staging","digest":"` + digestA, `"ghcr.io/acme/app:staging","digest":"x`, "from.digest"},
		"a tag without a name":  {`"name":"v1"`, `"name":""`, "no name"},
		"a tag twice":           {`"name":"v1"`, `"name":"production"`, "written twice"},
		"no repository":         {`"repository":"registry.acme.example/app"`, `"repository":""`, "repository is missing"},
		"no source":             {`"repository":"ghcr.io/acme/app"`, `"repository":""`, "repository is missing"},
		"a negative count":      {`"blobs":2`, `"blobs":-2`, "negative"},
		"negative bytes":        {`"bytes":1073741824`, `"bytes":-1`, "negative"},
		"an unknown verdict":    {`"status":"pending"`, `"status":"passed"`, "expected pass, fail, pending or error"},
		"trailing data":         {good, good + "{}", "something follows"},
		"a trailing line end":   {good, good + "\n", "altered"},
		"a leading blank":       {good, " " + good, "altered"},
		"half of it":            {good, good[:len(good)/2], "read the plan"},
		"nothing":               {good, "", "ends too early"},
		"a null instead":        {good, "null", "schema"},
		"a list instead":        {good, "[]", "cannot unmarshal"},
		"a byte order mark":     {good, "\ufeff" + good, "read the plan"},
		"broken UTF-8":          {"linux/arm64", "linux/\xff", "altered"},
		"half a surrogate":      {"linux/arm64", `linux/\ud800`, "altered"},
		"no promotions":         {good[strings.Index(good, `"promotions":`):], `"promotions":[]}`, "0 promotions"},
		"no tags":               {good[strings.Index(good, `"tags":`):strings.Index(good, `,"from"`)], `"tags":[]`, "no tags"},
	} {
		if strings.Count(good, test.old) == 0 {
			t.Fatalf("%s: %q is not in the plan %s", name, test.old, good)
		}
		_, err := ParsePlan([]byte(strings.Replace(good, test.old, test.new, 1)))
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error is %v, want %q in it", name, err, test.want)
		}
	}
}

func TestParsePlanTakesSHA512(t *testing.T) {
	p := example()
	p.Promotions[0].Digest = "sha512:" + strings.Repeat("0c", 64)
	if _, err := ParsePlan(p.Encode()); err != nil {
		t.Error(err)
	}
}

func TestParsePlanIsBounded(t *testing.T) {
	long(t)
	tags := func(n int) Plan {
		p := planOf(0, 1, 2)
		for i := range n - 3 {
			p.Promotions[i%3].Tags = append(p.Promotions[i%3].Tags, PlannedTag{Name: fmt.Sprint("more-", i)})
		}
		return p
	}
	for name, p := range map[string]Plan{"promotions": planOf(numbers(maxPromotions)...), "tags": tags(maxTags)} {
		if _, err := ParsePlan(p.Encode()); err != nil {
			t.Errorf("%s: the largest plan is refused: %v", name, err)
		}
	}
	lists := strings.TrimSuffix(strings.Repeat("["+strings.TrimSuffix(strings.Repeat("0,", maxElements), ",")+"],", 60), ",")
	keys := new(strings.Builder)
	for i := range maxKeys + 1 {
		fmt.Fprintf(keys, `"%d":0,`, i)
	}
	for name, test := range map[string]struct{ raw, want string }{
		"promotions": {string(planOf(numbers(maxPromotions + 1)...).Encode()), "a list has more than 10000 values"},
		"tags":       {string(tags(maxTags + 1).Encode()), "more than 10000 tags"},
		"lists":      {"[" + lists + "]", "all lists together more than 500000"},
		"depth":      {strings.Repeat("[", 1_000_000), "nested more than 16 deep"},
		"keys":       {"{" + keys.String() + `"x":0}`, "more than 64 keys"},
		"bytes":      {strings.Repeat(" ", maxJSON+1), "more than the 33554432"},
	} {
		if _, err := ParsePlan([]byte(test.raw)); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error is %v, want %q in it", name, err, test.want)
		}
	}
}

// TestErrorsAboutPlansAreHarmless holds that a hostile plan's words are short and
// visible.
func TestErrorsAboutPlansAreHarmless(t *testing.T) {
	good := string(example().Encode())
	long := strings.Repeat("\u202e\x1b", 10_000)
	for _, raw := range []string{
		strings.Replace(good, PlanSchema, `\u001b\u202e`+strings.Repeat("x", 10_000), 1),
		strings.Replace(good, `"verify"`, `"\u001b`+strings.Repeat("\u202e", 10_000)+`"`, 1),
		strings.Replace(good, digestA, strings.Repeat("\u202e", 10_000), 1),
		long,
	} {
		_, err := ParsePlan([]byte(raw))
		if err == nil || len(err.Error()) > 2000 || strings.ContainsAny(err.Error(), "\u202e\x1b\n") {
			t.Errorf("error is %.3000q", err)
		}
	}
}

// TestUnpackRefuses: each text is almost that of a plan.
func TestUnpackRefuses(t *testing.T) {
	raw := example().Encode()
	good := Pack(raw)
	packed, err := alphabet.DecodeString(good)
	if err != nil {
		t.Fatal(err)
	}
	named := bytes.Clone(packed)
	named[3] = 8 // FNAME
	for name, test := range map[string]struct{ text, want string }{
		"nothing":            {"", "empty"},
		"blanks":             {" \n", "empty"},
		"several lines":      {good[:40] + "\n" + good[40:], "several lines"},
		"a carriage return":  {good[:40] + "\r" + good[40:], "several lines"},
		"a blank inside":     {good[:40] + " " + good[40:], "not base64url"},
		"the other alphabet": {good[:40] + "+" + good[41:], "not base64url"},
		"padding":            {good + "=", "not base64url"},
		"JSON":               {string(raw), "not base64url"},
		"bytes, not gzip":    {alphabet.EncodeToString(raw), "does not begin"},
		"a name":             {alphabet.EncodeToString(named), "does not begin"},
		"half of it":         {good[:len(good)/8*4], "unpack the plan"},
		"two members":        {alphabet.EncodeToString(append(bytes.Clone(packed), packed...)), "bytes follow"},
		"trailing zero":      {alphabet.EncodeToString(append(bytes.Clone(packed), 0)), "1 bytes follow"},
	} {
		if _, err := Unpack(test.text); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error is %v, want %q in it", name, err, test.want)
		}
	}
}

// TestUnpackIsBounded: neither a long text is read, nor a short one that unpacks to a long one.
func TestUnpackIsBounded(t *testing.T) {
	long(t)
	for name, test := range map[string]struct{ text, want string }{
		"a long text": {strings.Repeat("A", maxText+1), "more than the 25165824"},
		"a bomb":      {Pack(make([]byte, maxJSON+1)), "unpacks to more"},
	} {
		if _, err := Unpack(test.text); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error is %v, want %q in it", name, err, test.want)
		}
	}
	if got, err := Unpack(Pack(make([]byte, maxJSON))); err != nil || len(got) != maxJSON {
		t.Errorf("the largest plan is refused: %v", err)
	}
}

// TestUnpackRefusesBitsWithoutMeaning: the last character of a text may have some.
func TestUnpackRefusesBitsWithoutMeaning(t *testing.T) {
	tried := 0
	for i := range 50 {
		text := Pack(bytes.Repeat([]byte("ab"), i))
		if len(text)%4 == 0 {
			continue // no bits are left over
		}
		tried++
		last := text[len(text)-1] // A, E, I, …, Q, …: the next letter differs in the last bit
		if _, err := Unpack(text[:len(text)-1] + string([]byte{last + 1})); err == nil {
			t.Errorf("%s may also end with %q", text, last+1)
		}
	}
	if tried == 0 {
		t.Error("no text has bits left over")
	}
}

// TestEveryChangedByteIsSeen changes each byte of a plan's JSON, and each of its
// text, to every other one.
func TestEveryChangedByteIsSeen(t *testing.T) {
	long(t)
	raw := example().Encode()
	digest := DigestOf(raw)
	for i := range raw {
		altered := bytes.Clone(raw)
		for _, b := range []byte{0, ' ', '"', '1', 'b', raw[i] ^ 0x20, raw[i] + 1} {
			if altered[i] = b; b == raw[i] {
				continue
			}
			p, err := ParsePlan(altered)
			if err == nil && (DigestOf(p.Encode()) == digest || DigestOf(altered) != DigestOf(p.Encode())) {
				t.Fatalf("byte %d as %q is not seen", i, b)
			}
		}
	}
	checkText(t, raw)
}

// checkText changes each bit of each character's value. What passes must be the
// same plan: some few bits of compressed data have no meaning, or say the same.
func checkText(t *testing.T, raw []byte) {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	text, same := Pack(raw), 0
	for i := range text {
		for _, other := range []byte{
			letters[strings.IndexByte(letters, text[i])^1], letters[strings.IndexByte(letters, text[i])^2],
			letters[strings.IndexByte(letters, text[i])^4], letters[strings.IndexByte(letters, text[i])^8],
			letters[strings.IndexByte(letters, text[i])^16], letters[strings.IndexByte(letters, text[i])^32],
			'=', '+', 0, 0xff, '.',
		} {
			got, err := Unpack(text[:i] + string([]byte{other}) + text[i+1:])
			if err == nil && !bytes.Equal(got, raw) {
				t.Errorf("character %d as %q makes another plan", i, other)
			}
			if err == nil {
				same++
			}
		}
	}
	if same > 20 {
		t.Errorf("%d texts stand for one plan", same)
	}
}

func TestEveryCutIsSeen(t *testing.T) {
	raw := example().Encode()
	for i := range raw {
		if _, err := ParsePlan(raw[:i]); err == nil {
			t.Errorf("the plan's first %d bytes are taken for a plan", i)
		}
	}
	text := Pack(raw)
	for i := range text {
		if _, err := Unpack(text[:i]); err == nil {
			t.Errorf("the text's first %d characters are taken for a plan", i)
		}
	}
}

func TestSplit(t *testing.T) {
	for name, test := range map[string]struct {
		images []int
		shards int
		first  []int // images of the first shard
	}{
		"one":              {[]int{7}, 1, []int{7}},
		"two repositories": {[]int{1, 2, 1}, 2, []int{1, 1}},
		"256":              {numbers(256), 256, []int{0}},
		"257":              {numbers(257), 256, []int{0}},
		"600":              {numbers(600), 256, []int{0, 1}},
	} {
		p := planOf(test.images...)
		shards := p.Split()
		if len(shards) != test.shards {
			t.Errorf("%s: %d shards, want %d", name, len(shards), test.shards)
		}
		if got := imagesOf(shards[0]); !reflect.DeepEqual(got, test.first) {
			t.Errorf("%s: the first shard has %v, want %v", name, got, test.first)
		}
		checkShards(t, name, p, shards)
	}
	if got := (Plan{}).Split(); len(got) != 0 {
		t.Errorf("no promotions make %d shards", len(got))
	}
}

// checkShards: each is a plan, they are even, and together they are the whole.
func checkShards(t *testing.T, name string, whole Plan, shards []Plan) {
	tags, least, most := map[string]int{}, len(whole.Promotions), 0
	for _, shard := range shards {
		if _, err := ParsePlan(shard.Encode()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, p := range shard.Promotions {
			tags[p.Tags[0].Name]++
		}
		least, most = min(least, len(shard.images())), max(most, len(shard.images()))
		same := whole
		same.Promotions = shard.Promotions
		if !reflect.DeepEqual(same, shard) {
			t.Errorf("%s: a shard has another head than the plan: %+v", name, shard)
		}
	}
	for _, p := range whole.Promotions {
		if tags[p.Tags[0].Name] != 1 {
			t.Errorf("%s: tag %s is in %d shards", name, p.Tags[0].Name, tags[p.Tags[0].Name])
		}
	}
	if most-least > 1 {
		t.Errorf("%s: shards have %d to %d images", name, least, most)
	}
}

func imagesOf(p Plan) []int {
	var all []int
	for _, promotion := range p.Promotions {
		var n int
		if _, err := fmt.Sscanf(promotion.Image, "image-%d", &n); err != nil {
			panic(err)
		}
		all = append(all, n)
	}
	return all
}

func TestSplitInto(t *testing.T) {
	long(t)
	p := planOf(numbers(600)...)
	for most, want := range map[int]int{1: 1, 7: 7, 256: 256, 1000: 256} {
		shards := p.SplitInto(most)
		if len(shards) != want {
			t.Errorf("%d shards at most are %d, want %d", most, len(shards), want)
		}
		checkShards(t, fmt.Sprint("into ", most), p, shards)
	}
}

func TestSplitKeepsTheOrder(t *testing.T) {
	var got []int
	for _, shard := range planOf(numbers(600)...).Split() {
		got = append(got, imagesOf(shard)...)
	}
	if !reflect.DeepEqual(got, numbers(600)) {
		t.Errorf("the images come in the order %v", got)
	}
}

// FuzzParsePlan: what is taken for a plan is what the program writes for it.
func FuzzParsePlan(f *testing.F) {
	f.Add(example().Encode())
	f.Add(planOf(1, 2, 1).Encode())
	f.Add([]byte(`{"schema":"` + PlanSchema + `","schema":""}`))
	f.Add([]byte("[[[["))
	f.Add([]byte(""))
	f.Fuzz(func(t *testing.T, raw []byte) {
		p, err := ParsePlan(raw)
		if err != nil {
			if len(err.Error()) > 2000 {
				t.Errorf("the error is long: %s", err)
			}
			return
		}
		if !bytes.Equal(p.Encode(), raw) || len(p.Promotions) == 0 || !p.Expires.After(p.Created) {
			t.Errorf("%s is taken for the plan %+v", raw, p)
		}
		for _, shard := range p.Split() {
			if _, err := ParsePlan(shard.Encode()); err != nil {
				t.Errorf("a shard of a plan is none: %v", err)
			}
		}
	})
}

// FuzzUnpack compares with gzip's own reader, and packs again.
func FuzzUnpack(f *testing.F) {
	f.Add(Pack(example().Encode()))
	f.Add(Pack(nil) + "\n")
	f.Add("H4sI")
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		if again, err := Unpack(Pack([]byte(text))); err != nil || string(again) != text {
			t.Errorf("%q comes back as %q: %v", text, again, err)
		}
		raw, err := Unpack(text)
		if err != nil {
			return
		}
		packed, err := alphabet.DecodeString(strings.TrimSpace(text))
		if err != nil {
			t.Fatal(err)
		}
		r, err := gzip.NewReader(bytes.NewReader(packed))
		if err != nil {
			t.Fatal(err)
		}
		want := new(bytes.Buffer)
		if _, err := want.ReadFrom(r); err != nil || !bytes.Equal(want.Bytes(), raw) {
			t.Errorf("%q unpacks to %q, want %q (%v)", text, raw, want, err)
		}
	})
}

// long skips a test that takes a quarter of a second of processor time or more, where only short ones are asked for.
func long(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("long: it runs without -short")
	}
}
