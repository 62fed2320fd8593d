-- For wrk: each connection pauses a millisecond between its requests, so that one address stays below the rate that a node allows.
function delay()
	return 1
end
