package session

// I18NLEVEL=1: RFC 5255 section 4. SEARCH, SORT and THREAD compare by i;unicode-casemap: the former in storage, which folds what it searches so.
func init() {
	register(extension{capabilities: []capability{{name: "I18NLEVEL=1", when: whenLoggedIn}}})
}
