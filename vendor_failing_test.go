package main

// unfit are scenarios whose image the vendor itself refuses: nothing can be promoted there that is not there.
var unfit = []failing{}

// refusesRecords are scenarios that fail because the vendor refuses what the program keeps in a registry: records,
// ledgers, journals. The change of their form empties this list.
var refusesRecords = []failing{}

// productMustMend are scenarios that fail for another defect of the program.
var productMustMend = []failing{}
