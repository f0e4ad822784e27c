package document

// maxShards is how many jobs GitHub makes of one matrix
// (https://docs.github.com/en/actions/reference/limits).
const maxShards = 256

// Split makes a plan of each image of a plan, for a matrix of jobs: promotions of
// one image stay together, and so do neighbours where there are more images than
// a matrix can have jobs.
func (p Plan) Split() []Plan { return p.SplitInto(maxShards) }

// SplitInto is Split into at most that many plans, at least one.
func (p Plan) SplitInto(most int) []Plan {
	images := p.images()
	shards := make([]Plan, min(len(images), most, maxShards))
	for i := range shards {
		shards[i] = p
		shards[i].Promotions = nil
		for _, promotions := range images[i*len(images)/len(shards) : (i+1)*len(images)/len(shards)] {
			shards[i].Promotions = append(shards[i].Promotions, promotions...)
		}
	}
	return shards
}

// images are the promotions of each image, in the order of each one's first.
func (p Plan) images() [][]PlannedPromotion {
	type image struct{ name, digest string }
	var all [][]PlannedPromotion
	at := map[image]int{}
	for _, promotion := range p.Promotions {
		key := image{promotion.Image, promotion.Digest}
		i, known := at[key]
		if !known {
			i = len(all)
			at[key] = i
			all = append(all, nil)
		}
		all[i] = append(all[i], promotion)
	}
	return all
}
