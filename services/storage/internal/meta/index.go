package meta

// Conditions of the partial indexes on messages. A query has them word for word, else the databases do not see that the index fits.
const (
	isUnseen  = `flags & 1 = 0`
	isFlagged = `flags & 4 <> 0`
	isDeleted = `flags & 8 <> 0`
)
