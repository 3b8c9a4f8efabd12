package sim

import (
	"math/rand/v2"
	"time"
)

// regionNames are the cities of the regions.
var regionNames = [...]string{
	"Dallas", "Toronto", "Washington", "Frankfurt", "London", "Madrid", "Osaka", "Sydney", "Tokyo", "Sao Paulo",
}

// roundTrips has, in milliseconds, the average round trip between regions of
// IBM Cloud from 27 July to 25 August 2024, as its documentation publishes it
// ("Network latency dashboards", https://cloud.ibm.com/docs/vpc?topic=vpc-network-latency-dashboards,
// table of 25 August 2024; its two directions differ by 4 ms at most, this is
// the one from the row to the column above it). Inside a region it is the 2 ms
// between two zones of Dallas.
var roundTrips = [len(regionNames)][len(regionNames)]int{
	{2},
	{34, 2},
	{31, 19, 2},
	{123, 93, 91, 2},
	{113, 83, 75, 13, 2},
	{122, 106, 88, 29, 27, 2},
	{150, 169, 172, 231, 243, 257, 2},
	{186, 214, 214, 249, 261, 275, 122, 2},
	{143, 162, 166, 233, 244, 256, 9, 115, 2},
	{144, 128, 119, 196, 187, 208, 291, 328, 283, 2},
}

// oneWay returns the latency from one region to another.
func oneWay(a, b int) time.Duration {
	return time.Duration(roundTrips[max(a, b)][min(a, b)]) * time.Millisecond / 2
}

// drawRegions places nodes in a few of the regions.
func drawRegions(rng *rand.Rand, nodes int) []int {
	few := rng.Perm(len(regionNames))[:2+rng.IntN(len(regionNames)-1)]
	regions := make([]int, nodes)
	for i := range regions {
		regions[i] = few[rng.IntN(len(few))]
	}
	return regions
}
