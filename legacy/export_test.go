package legacy

// ChainHash is for tests.
var ChainHash = chainHash
