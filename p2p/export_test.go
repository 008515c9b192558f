package p2p

// VerifySoon wakes the check of signatures behind ranges, as a pull does.
func (n *Network) VerifySoon() { n.verifySoon() }
