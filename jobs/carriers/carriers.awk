# How punctual each carrier was on one day. A flight is on time if it arrives less than 15
# minutes late, as the US Department of Transportation counts; a cancelled one is not.

BEGIN {
    FS = ","
    for (name in param) if (name != "day" && name != "origin") refuse("no parameter " name)
    split(day, part, "-")
}

NR == 1 {
    for (i = 1; i <= NF; i++) at[$i] = i
    next
}

$at["month"] == part[2] + 0 && $at["day"] == part[3] + 0 {
    if ("origin" in param && $at["origin"] != param["origin"]) next
    flights[$at["carrier"]]++
    flights[""]++
    if (missing($at["dep_time"])) count(cancelled)
    if (!missing($at["arr_delay"]) && $at["arr_delay"] + 0 < 15) count(on_time)
}

END {
    if (refused) exit 2
    if (!flights[""]) {
        print "no flight left on " day > "/dev/stderr"
        exit 1
    }
    printf "%s: %d flights, %d cancelled, %.1f%% on time\n",
        day, flights[""], cancelled[""], share("")
    print "carrier  flights  cancelled  on time"
    total = flights[""]
    delete flights[""]
    while ((carrier = busiest()) != "") {
        printf "%-7s  %7d  %9d  %6.1f%%\n",
            carrier, flights[carrier], cancelled[carrier], share(carrier)
        delete flights[carrier]
    }
}

function missing(value) {
    return value == "" || value == "NA"
}

function count(what) {
    what[$at["carrier"]]++
    what[""]++
}

function share(carrier) {
    return 100 * on_time[carrier] / flights[carrier]
}

# Returns the carrier with the most flights, of equals the first by name.
function busiest(    carrier, best) {
    for (carrier in flights)
        if (best == "" || flights[carrier] > flights[best] \
            || flights[carrier] == flights[best] && carrier < best) best = carrier
    return best
}
