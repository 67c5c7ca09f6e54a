# What raysched tells a container, read in awk: the run's parameters, and its day in 2013.
#
# Parameters are data: a flat JSON object of text and numbers fills the array `param`, and
# nothing of it is ever executed. Anything else is refused with exit code 2.

BEGIN {
    read_params(ENVIRON["RAYSCHED_PARAMS"])
    date = "day" in param ? param["day"] : ENVIRON["RAYSCHED_SLOT"]
    if (date == "") date = strftime("%Y-%m-%d", systime(), 1)
    day = day_of_2013(date)
}

function refuse(why) {
    print why > "/dev/stderr"
    refused = 1
    exit 2
}

function read_params(text,    key) {
    if (text ~ /^[ ]*([{][ ]*[}])?[ ]*$/) return
    if (!sub(/^[ ]*[{][ ]*/, "", text)) refuse("RAYSCHED_PARAMS is no JSON object")
    while (1) {
        key = read_text(text)
        text = substr(text, RLENGTH + 1)
        if (!sub(/^[ ]*:[ ]*/, "", text)) refuse("RAYSCHED_PARAMS is no JSON object")
        if (text ~ /^"/) param[key] = read_text(text)
        else if (match(text, /^-?[0-9][0-9.eE+-]*/)) param[key] = substr(text, 1, RLENGTH)
        else refuse("parameter " key " is neither text nor a number")
        text = substr(text, RLENGTH + 1)
        if (text ~ /^[ ]*[}][ ]*$/) return
        if (!sub(/^[ ]*,[ ]*/, "", text)) refuse("RAYSCHED_PARAMS is no JSON object")
    }
}

# Returns the text at the start, and leaves its length with the quotes in RLENGTH.
function read_text(text) {
    if (!match(text, /^"[^"\\]*"/)) refuse("a parameter holds \" or \\, or is not text")
    return substr(text, 2, RLENGTH - 2)
}

function day_of_2013(date) {
    if (date !~ /^[0-9][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9]/) refuse("day is no date: " date)
    date = substr(date, 6, 5)
    return "2013-" (date == "02-29" ? "02-28" : date)  # a day that 2013 lacks
}
