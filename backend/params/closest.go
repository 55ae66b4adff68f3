package params

import "unicode/utf8"

// Closest returns the one of known that is nearest to name, or "" when none is so
// near that it may have been meant.
func Closest(name string, known []string) string {
	best, least := "", 1+max(1, utf8.RuneCountInString(name)/3)
	for _, k := range known {
		if d := distance(name, k); d < least {
			best, least = k, d
		}
	}
	return best
}

// distance is the Levenshtein distance of a and b.
func distance(a, b string) int {
	to := []rune(b)
	row := make([]int, len(to)+1)
	for j := range row {
		row[j] = j
	}
	for _, from := range a {
		diagonal := row[0]
		row[0]++
		for j, r := range to {
			change := diagonal
			if r != from {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(to)]
}
